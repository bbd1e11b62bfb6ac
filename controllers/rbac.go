package controllers

// The permissions of the admission controller: what this package needs, and what reports and leader election do. The
// generated role is config/rbac/role.yaml.
//
// Policies are read, and only their status is written.
//
// +kubebuilder:rbac:groups=kyverno.io,resources=clusterpolicies;policies,verbs=get;list;watch
// +kubebuilder:rbac:groups=kyverno.io,resources=clusterpolicies/status;policies/status,verbs=patch;update
//
// Exceptions are read where the operator has turned them on.
//
// +kubebuilder:rbac:groups=kyverno.io,resources=policyexceptions,verbs=get;list;watch
//
// GlobalContextEntries are read, and only their status is written. What they name is the operator's to grant.
//
// +kubebuilder:rbac:groups=kyverno.io,resources=globalcontextentries,verbs=get;list;watch
// +kubebuilder:rbac:groups=kyverno.io,resources=globalcontextentries/status,verbs=patch;update
//
// Config maps are what context entries of policies name, wherever they are; each is followed by itself.
//
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch
//
// The labels of namespaces are what a namespaceSelector is about.
//
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
//
// The roles of users are what roles and clusterRoles in match and exclude are about.
//
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings;clusterrolebindings,verbs=get;list;watch
//
// Of webhook configurations only Signet's own are changed. Creating cannot be limited to names.
//
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,verbs=create;list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations,resourceNames=kyverno-resource-mutating-webhook-cfg;kyverno-policy-mutating-webhook-cfg;kyverno-verify-mutating-webhook-cfg,verbs=get;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=kyverno-resource-validating-webhook-cfg;kyverno-policy-validating-webhook-cfg;kyverno-exception-validating-webhook-cfg;kyverno-global-context-validating-webhook-cfg,verbs=get;update
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles,resourceNames="kyverno:webhook",verbs=get
//
// Reports and events say what was decided; a report is written for an object that exists.
//
// +kubebuilder:rbac:groups=wgpolicyk8s.io,resources=policyreports;clusterpolicyreports,verbs=create;delete;get;list;patch;update;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=pods;podtemplates;replicationcontrollers,verbs=get
// +kubebuilder:rbac:groups=apps,resources=deployments;daemonsets;statefulsets;replicasets,verbs=get
// +kubebuilder:rbac:groups=batch,resources=jobs;cronjobs,verbs=get
//
// Services of a Policy's namespace are looked at before its context entries ask them.
//
// +kubebuilder:rbac:groups="",resources=services,verbs=get
//
// Service accounts name the pull secrets of the Pods that run as them.
//
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get
//
// In the system namespace: the Secrets that policies and flags name for registries and keys, the certificates, the leases of the leader, of the
// health check and of every replica (those of replicas have names that nobody knows before), the ConfigMap, and the one that --trustedRootConfigMap may name without further permissions. Secrets elsewhere their owner grants, by a ClusterRole that is merged into
// kyverno:admission-controller:additional.
//
// +kubebuilder:rbac:groups="",namespace=kyverno,resources=secrets,verbs=create;get;list;watch
// +kubebuilder:rbac:groups="",namespace=kyverno,resources=secrets,resourceNames=kyverno-svc.kyverno.svc.kyverno-tls-ca;kyverno-svc.kyverno.svc.kyverno-tls-pair,verbs=update
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kyverno,resources=leases,verbs=create;delete;list;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kyverno,resources=leases,resourceNames=kyverno;kyverno-health,verbs=get;update
// +kubebuilder:rbac:groups="",namespace=kyverno,resources=configmaps,resourceNames=kyverno;signet-trusted-root,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=kyverno,resources=events,verbs=create;patch
