package match

// Owner is the kind of the resource that a subresource belongs to, for subresources whose own kind is another: the object
// of pods/binding is a Binding, and filters speak of Pod/binding. It is not known for resources of other groups than the
// built-in ones, of which a subresource either has the kind of its resource or is a Scale.
func Owner(group, resource, subresource string) (kind string, ok bool) {
	if subresource == "" {
		return "", false
	}
	kind, ok = owners[[2]string{group, resource}]
	return kind, ok
}

// owners are the built-in resources that have subresources.
var owners = map[[2]string]string{
	{"", "namespaces"}: "Namespace", {"", "nodes"}: "Node", {"", "persistentvolumeclaims"}: "PersistentVolumeClaim",
	{"", "persistentvolumes"}: "PersistentVolume", {"", "pods"}: "Pod", {"", "replicationcontrollers"}: "ReplicationController",
	{"", "resourcequotas"}: "ResourceQuota", {"", "serviceaccounts"}: "ServiceAccount", {"", "services"}: "Service",
	{"apps", "daemonsets"}: "DaemonSet", {"apps", "deployments"}: "Deployment", {"apps", "replicasets"}: "ReplicaSet",
	{"apps", "statefulsets"}: "StatefulSet", {"batch", "cronjobs"}: "CronJob", {"batch", "jobs"}: "Job",
	{"apiregistration.k8s.io", "apiservices"}: "APIService",
}
