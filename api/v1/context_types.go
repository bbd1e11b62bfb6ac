package v1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// ContextEntry makes data available to variables under its name. Exactly one source is given.
type ContextEntry struct {
	// Name is the variable's name.
	Name string `json:"name"`

	// ConfigMap reads a config map.
	// +optional
	ConfigMap *ConfigMapReference `json:"configMap,omitempty"`

	// APICall asks the API server or another service.
	// +optional
	APICall *ContextAPICall `json:"apiCall,omitempty"`

	// ImageRegistry reads the manifest and configuration of an image.
	// +optional
	ImageRegistry *ImageRegistry `json:"imageRegistry,omitempty"`

	// Variable is a value, or an expression over other data.
	// +optional
	Variable *Variable `json:"variable,omitempty"`

	// GlobalReference reads what a GlobalContextEntry keeps.
	// +optional
	GlobalReference *GlobalContextEntryReference `json:"globalReference,omitempty"`
}

// ConfigMapReference names a config map.
type ConfigMapReference struct {
	// Name of the config map.
	Name string `json:"name"`

	// Namespace of the config map. Absent means a Policy's own, or default for a ClusterPolicy.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// HTTPMethod is the method of an API call.
// +kubebuilder:validation:Enum=GET;POST
type HTTPMethod string

// The methods.
const (
	Get  HTTPMethod = "GET"
	Post HTTPMethod = "POST"
)

// ContextAPICall is a request to the API server (urlPath) or to another service (service).
type ContextAPICall struct {
	// URLPath is a path at the API server, such as /api/v1/namespaces.
	// +optional
	URLPath string `json:"urlPath,omitempty"`

	// Method of the request.
	// +optional
	// +kubebuilder:default=GET
	Method HTTPMethod `json:"method,omitempty"`

	// Data is the body of a POST request: a JSON object of these keys and values.
	// +optional
	Data []RequestData `json:"data,omitempty"`

	// Service is asked instead of the API server.
	// +optional
	Service *ServiceCall `json:"service,omitempty"`

	// Default is the value when the call fails or gives nothing.
	// +optional
	Default *apiextensionsv1.JSON `json:"default,omitempty"`

	// JMESPath is applied to the answer.
	// +optional
	JMESPath string `json:"jmesPath,omitempty"`
}

// RequestData is one member of a request's body.
type RequestData struct {
	// Key of the member.
	Key string `json:"key"`

	// Value of the member, any JSON.
	Value *apiextensionsv1.JSON `json:"value"`
}

// ServiceCall names a service that is asked over HTTP.
type ServiceCall struct {
	// URL of the service. Loopback and link-local addresses are refused.
	URL string `json:"url"`

	// Headers sent with the request.
	// +optional
	Headers []HTTPHeader `json:"headers,omitempty"`

	// CABundle are the PEM certificates that the service's certificate is checked against.
	// +optional
	CABundle string `json:"caBundle,omitempty"`
}

// HTTPHeader is one header of a request.
type HTTPHeader struct {
	// Key is the header's name.
	Key string `json:"key"`

	// Value is the header's value.
	Value string `json:"value"`
}

// ImageRegistry reads an image's manifest and configuration.
type ImageRegistry struct {
	// Reference of the image.
	Reference string `json:"reference"`

	// JMESPath is applied to the data.
	// +optional
	JMESPath string `json:"jmesPath,omitempty"`

	// ImageRegistryCredentials are used to read.
	// +optional
	ImageRegistryCredentials *ImageRegistryCredentials `json:"imageRegistryCredentials,omitempty"`
}

// Variable is a value, or an expression over other data.
type Variable struct {
	// Value is any JSON; it may hold variables.
	// +optional
	Value *apiextensionsv1.JSON `json:"value,omitempty"`

	// JMESPath is applied to value, or to all data when there is no value.
	// +optional
	JMESPath string `json:"jmesPath,omitempty"`

	// Default is the value when the expression gives nothing.
	// +optional
	Default *apiextensionsv1.JSON `json:"default,omitempty"`
}

// GlobalContextEntryReference names what a GlobalContextEntry keeps.
type GlobalContextEntryReference struct {
	// Name of the GlobalContextEntry, or name.projection.
	Name string `json:"name"`

	// JMESPath is applied to the data.
	// +optional
	JMESPath string `json:"jmesPath,omitempty"`
}
