package env

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// serviceAccountTokenLife is long enough for a playground left running for a working day.
const serviceAccountTokenLife = 24 * time.Hour

// tokenFile makes a token for admin and each user and returns the file for --token-auth-file.
func (c *Cluster) tokenFile(users []User) string {
	var b strings.Builder
	for _, u := range append([]User{{Name: "admin", Groups: []string{"system:masters"}}}, users...) {
		c.tokens[u.Name] = newToken()
		fmt.Fprintf(&b, "%s,%s,%s,%q\n", c.tokens[u.Name], u.Name, u.Name, strings.Join(u.Groups, ","))
	}
	return b.String()
}

func newToken() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails, by its contract
	return hex.EncodeToString(raw)
}

// URL is the API server's address.
func (c *Cluster) URL() string { return c.url }

// Config is the admin's configuration (system:masters), without client-side rate limits.
func (c *Cluster) Config() *rest.Config { return c.configFor(c.tokens["admin"]) }

// UserConfig is the configuration of a user named in Options.Users; for another name it has an unknown token, so that
// every request is unauthorized.
func (c *Cluster) UserConfig(name string) *rest.Config {
	token, ok := c.tokens[name]
	if !ok {
		token = "unknown"
	}
	return c.configFor(token)
}

func (c *Cluster) configFor(token string) *rest.Config {
	return &rest.Config{
		Host: c.url, BearerToken: token, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: append([]byte(nil), c.CA.PEM...)},
	}
}

// Client is the admin's typed client.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Kubeconfig is the path of the admin's kubeconfig file.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "admin.kubeconfig") }

// UserKubeconfig is UserConfig as a file, for a process that runs as that user.
func (c *Cluster) UserKubeconfig(name string) (path string, err error) {
	return c.kubeconfigFile(name, c.UserConfig(name).BearerToken)
}

func (c *Cluster) writeKubeconfig(user string) error {
	_, err := c.kubeconfigFile(user, c.tokens[user])
	return err
}

func (c *Cluster) kubeconfigFile(user, token string) (string, error) {
	k := clientcmdapi.NewConfig()
	k.Clusters["signet"] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthorityData: c.CA.PEM}
	k.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	k.Contexts["signet"] = &clientcmdapi.Context{Cluster: "signet", AuthInfo: user}
	k.CurrentContext = "signet"
	path := filepath.Join(c.Dir, strings.NewReplacer(":", "-", "/", "-").Replace(user)+".kubeconfig")
	if err := clientcmd.WriteToFile(*k, path); err != nil {
		return "", fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return path, nil
}

// ServiceAccountConfig is the configuration of a service account, whose token the API server issues here (TokenRequest).
// Namespace and service account are created when they do not exist; permissions are not.
func (c *Cluster) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, error) {
	token, err := c.serviceAccountToken(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return c.configFor(token), nil
}

// ServiceAccountKubeconfig is ServiceAccountConfig as a file, for a process that runs as that account.
func (c *Cluster) ServiceAccountKubeconfig(ctx context.Context, namespace, name string) (path string, err error) {
	token, err := c.serviceAccountToken(ctx, namespace, name)
	if err != nil {
		return "", err
	}
	return c.kubeconfigFile(namespace+"-"+name, token)
}

func (c *Cluster) serviceAccountToken(ctx context.Context, namespace, name string) (string, error) {
	if err := c.EnsureNamespace(ctx, namespace); err != nil {
		return "", err
	}
	accounts := c.client.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("creating service account %s/%s: %w", namespace, name, err)
	}
	seconds := int64(serviceAccountTokenLife / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := accounts.CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("requesting a token for service account %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, nil
}

// EnsureNamespace creates a namespace unless it exists. With a controller manager it also waits for the namespace's
// default service account, without which no Pod is admitted.
func (c *Cluster) EnsureNamespace(ctx context.Context, name string) error {
	_, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return c.waitDefaultAccount(ctx, name)
}

// Namespace creates a namespace with a fresh name, for a test that shares its cluster with others.
func (c *Cluster) Namespace(ctx context.Context, prefix string) (string, error) {
	ns, err := c.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("creating a namespace: %w", err)
	}
	return ns.Name, c.waitDefaultAccount(ctx, ns.Name)
}

func (c *Cluster) waitDefaultAccount(ctx context.Context, namespace string) error {
	if !c.controllers {
		return nil
	}
	err := poll(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for the default service account of %s: %w", namespace, err)
	}
	return nil
}
