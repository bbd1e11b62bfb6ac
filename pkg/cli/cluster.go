package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-policy/signet/controllers"
	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/match"
	"github.com/signet-policy/signet/pkg/policy"
)

const (
	// pageSize is the number of objects that are listed at once.
	pageSize = 500
	// maxListed bounds the objects of a cluster that are judged in one call.
	maxListed = 50_000
)

// clusterFlags say which cluster is asked, and whether one is.
type clusterFlags struct {
	asked               bool
	kubeconfig, context string
}

func (c *clusterFlags) addFlags(fs *pflag.FlagSet, short, about string) {
	fs.BoolVarP(&c.asked, "cluster", short, false, about)
	fs.StringVar(&c.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster (default: as kubectl finds it)")
	fs.StringVar(&c.context, "context", "", "`name` of the context in that file (default: the current one)")
}

func (c *clusterFlags) check() error {
	if !c.asked && (c.kubeconfig != "" || c.context != "") {
		return errors.New("--kubeconfig and --context need --cluster")
	}
	return nil
}

// cluster is the API server that a call asks, with the user's own rights. Nothing is written.
type cluster struct {
	config    *rest.Config
	client    client.Client
	discovery discovery.DiscoveryInterface
	accounts  *controllers.PullSecrets
	context   loader.Options
	globals   *globals

	mu     sync.Mutex
	labels map[string]map[string]string
	read   map[policy.SecretName]secretAnswer
}

// secretAnswer is a Secret as it was read, of an empty type when there is none; or that it may not be read.
type secretAnswer struct {
	secret
	err error
}

var errForbidden = errors.New("it may not be read in the cluster")

// connect makes what the cluster is asked by; nil without --cluster. Nothing is asked yet.
func (c *clusterFlags) connect(o Options, systemNamespace string) (*cluster, error) {
	if !c.asked {
		return nil, nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	config.QPS = -1 // the API server's own priority and fairness is the judge of that
	config.UserAgent = "signet/" + o.Version
	out := &cluster{config: config, labels: map[string]map[string]string{}, read: map[policy.SecretName]secretAnswer{}}
	if out.client, err = controllers.NewClient(config); err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	if out.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	configMaps, err := controllers.NewConfigMaps(config)
	if err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	out.context = loader.Options{ConfigMaps: configMaps, API: &loader.API{SystemNamespace: systemNamespace}, UserAgent: config.UserAgent}
	if out.context.API.Client, out.context.API.Base, err = controllers.NewAPIClient(config); err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	if out.globals, err = newGlobals(config, out.client, out.context, systemNamespace); err != nil {
		return nil, fmt.Errorf("--cluster: %w", err)
	}
	out.context.Globals = out.globals
	out.accounts = controllers.NewPullSecrets(out.client)
	return out, nil
}

// close ends what reads in the background. There may be no cluster.
func (c *cluster) close() {
	if c != nil {
		c.globals.close()
	}
}

// Labels are those of a namespace.
func (c *cluster) Labels(ctx context.Context, name string) (map[string]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if labels, known := c.labels[name]; known {
		return labels, nil
	}
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.client.Get(ctx, client.ObjectKey{Name: name}, found); err != nil {
		return nil, err
	}
	c.labels[name] = found.Labels
	return found.Labels, nil
}

// secret reads a Secret, once. Its type is empty when there is none; errForbidden is wrapped when it may not be read.
func (c *cluster) secret(ctx context.Context, n policy.SecretName) (secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, known := c.read[n]; known {
		return a.secret, a.err
	}
	found := &corev1.Secret{}
	a := secretAnswer{}
	switch err := c.client.Get(ctx, client.ObjectKey{Namespace: n.Namespace, Name: n.Name}, found); {
	case apierrors.IsForbidden(err):
		a.err = errForbidden
	case apierrors.IsNotFound(err):
	case err != nil:
		return secret{}, err
	default:
		a.secret = secret{kind: string(found.Type), data: found.Data}
		if a.kind == "" {
			a.kind = "Opaque"
		}
	}
	c.read[n] = a
	return a.secret, a.err
}

// served is a kind that the API server serves.
type served struct {
	schema.GroupVersionKind
	resource   string
	namespaced bool
}

// kinds are what the policies match of what the API server serves and lists, each in one version.
// Unknown tells of those that are not served.
func (c *cluster) kinds(ctx context.Context, policies []*policy.Policy, unknown func(*policy.Policy, *match.Kind)) ([]served, error) {
	_, lists, err := c.discovery.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return nil, fmt.Errorf("reading what the API server serves: %w", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var all []served
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("reading what the API server serves: %w", err)
		}
		for i := range list.APIResources {
			if r := &list.APIResources[i]; slices.Contains(r.Verbs, "list") {
				all = append(all, served{gv.WithKind(r.Kind), r.Name, r.Namespaced})
			}
		}
	}
	var out []served
	for _, p := range policies {
		for _, rule := range p.Rules {
			for _, filters := range [][]match.Resource{rule.Filter.Match.Any, rule.Filter.Match.All} {
				for i := range filters {
					for k := range filters[i].Kinds {
						found := selected(all, &filters[i].Kinds[k], p.Namespace != "")
						if len(found) == 0 && partial != nil {
							return nil, fmt.Errorf("kind %s: %w", &filters[i].Kinds[k], partial)
						}
						if len(found) == 0 {
							unknown(p, &filters[i].Kinds[k])
						}
						out = append(out, found...)
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(x, y served) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Group, y.Group), cmp.Compare(x.Version, y.Version))
	})
	return slices.Compact(out), nil
}

// selected is what a selector selects, of each resource the first version: an object is not judged once for each.
func selected(all []served, kind *match.Kind, namespaced bool) []served {
	var out []served
	for _, s := range all {
		a := match.Attributes{Group: s.Group, Version: s.Version, Kind: s.Kind}
		if !kind.Matches(&a) || namespaced && !s.namespaced {
			continue
		}
		if !slices.ContainsFunc(out, func(o served) bool { return o.Group == s.Group && o.resource == s.resource }) {
			out = append(out, s)
		}
	}
	return out
}

// list hands out the objects of a kind, in one namespace unless that is empty.
func (c *cluster) list(ctx context.Context, kind served, namespace string, use func(map[string]any) error) error {
	if namespace != "" && !kind.namespaced {
		return nil
	}
	options := &client.ListOptions{Namespace: namespace, Limit: pageSize}
	for {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := c.client.List(ctx, list, options); err != nil {
			if apierrors.IsResourceExpired(err) {
				return fmt.Errorf("listing %s: it took too long, and the API server has forgotten where it was; use --namespace", kind.resource)
			}
			return fmt.Errorf("listing %s: %w", kind.resource, err)
		}
		for i := range list.Items {
			object := list.Items[i].Object
			// Items of lists need not say what they are.
			object["apiVersion"], object["kind"] = kind.GroupVersion().String(), kind.Kind
			unstructured.RemoveNestedField(object, "metadata", "managedFields")
			if err := use(object); err != nil {
				return err
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
