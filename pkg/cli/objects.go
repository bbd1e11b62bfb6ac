package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	kjson "sigs.k8s.io/json"

	"github.com/signet-policy/signet/pkg/loader"
	"github.com/signet-policy/signet/pkg/policy"
	"github.com/signet-policy/signet/pkg/reason"
	"github.com/signet-policy/signet/pkg/verify"
)

// defaultSystemNamespace is where Secrets are that a policy names without a namespace.
const defaultSystemNamespace = "kyverno"

// objects are the Secrets and service accounts that a call was given, and those of the cluster, if one is asked.
type objects struct {
	systemNamespace string
	secrets         map[policy.SecretName]secret
	accounts        map[policy.SecretName][]string
	// cluster is asked for what was not given; nil for none.
	cluster *cluster
}

// secret is a Secret's type and data.
type secret struct {
	kind string
	data map[string][]byte
}

func newObjects() *objects {
	return &objects{systemNamespace: defaultSystemNamespace, secrets: map[policy.SecretName]secret{}, accounts: map[policy.SecretName][]string{}}
}

// systemNamespaceOf is where Secrets are that a policy names without a namespace.
func (o *objects) systemNamespaceOf(options Options) string {
	if options.SystemNamespace != "" {
		o.systemNamespace = options.SystemNamespace
	}
	return o.systemNamespace
}

// context is a loader of context entries, which asks the cluster, if there is one.
func (o *objects) context() *loader.Loader {
	if o.cluster == nil {
		return loader.New(loader.Options{})
	}
	return loader.New(o.cluster.context)
}

// add takes a document, if it is one of those. What names no namespace is in whichever it is looked for in.
func (o *objects) add(object map[string]any) error {
	if object["apiVersion"] != "v1" {
		return nil
	}
	meta, _ := object["metadata"].(map[string]any)
	var n policy.SecretName
	n.Namespace, _ = meta["namespace"].(string)
	n.Name, _ = meta["name"].(string)
	switch object["kind"] {
	case "Secret":
		s := secret{data: map[string][]byte{}}
		s.kind, _ = object["type"].(string)
		if s.kind == "" {
			s.kind = "Opaque"
		}
		data, _ := object["data"].(map[string]any)
		for k, v := range data {
			text, _ := v.(string)
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("Secret %s: data[%.100q] is not base64", n, k)
			}
			s.data[k] = b
		}
		data, _ = object["stringData"].(map[string]any)
		for k, v := range data {
			text, _ := v.(string)
			s.data[k] = []byte(text)
		}
		o.secrets[n] = s
	case "ServiceAccount":
		names := []string{}
		list, _ := object["imagePullSecrets"].([]any)
		for _, item := range list {
			m, _ := item.(map[string]any)
			if name, _ := m["name"].(string); name != "" {
				names = append(names, name)
			}
		}
		o.accounts[n] = names
	}
	return nil
}

// read reads the documents of files and directories.
func (o *objects) read(paths []string) error {
	for _, path := range paths {
		files, err := manifests(path)
		for _, file := range files {
			if err == nil {
				err = eachDocument(file, os.Stdin, o.document)
			}
		}
		if err != nil {
			return fmt.Errorf("--resource: %w", err)
		}
	}
	return nil
}

func (o *objects) document(where string, raw []byte) error {
	var object map[string]any
	err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &object)
	if err == nil {
		err = o.add(object)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// completed is a name with the namespace that it is looked for in.
func (o *objects) completed(n policy.SecretName) policy.SecretName {
	if n.Namespace == "" {
		n.Namespace = o.systemNamespace
	}
	return n
}

// need is an error for a Secret that would have to be known here and cannot be: neither was it given, nor can a cluster say.
func (o *objects) need(ctx context.Context, n policy.SecretName) error {
	if _, ok := find(o.secrets, n); ok {
		return nil
	}
	if o.cluster == nil {
		return errNotGiven
	}
	if _, err := o.cluster.secret(ctx, n); errors.Is(err, errForbidden) {
		return err
	}
	return nil // other errors come up where it is used
}

var errNotGiven = errors.New("it is not among the resources given, and no cluster is asked")

// find looks for what was given in a namespace, and then for what was given without one.
func find[T any](m map[policy.SecretName]T, n policy.SecretName) (T, bool) {
	v, ok := m[n]
	if !ok {
		v, ok = m[policy.SecretName{Name: n.Name}]
	}
	return v, ok
}

// Secret implements credentials.Secrets. One that may not be read counts as not there, as in admission; need tells.
func (o *objects) Secret(ctx context.Context, namespace, name string) (kind string, data map[string][]byte, err error) {
	n := policy.SecretName{Namespace: namespace, Name: name}
	s, ok := find(o.secrets, n)
	if !ok && o.cluster != nil {
		if s, err = o.cluster.secret(ctx, n); errors.Is(err, errForbidden) {
			err = nil
		}
	}
	return s.kind, s.data, err
}

// PullSecrets implements credentials.Secrets.
func (o *objects) PullSecrets(ctx context.Context, namespace, serviceAccount string) ([]string, error) {
	if names, ok := find(o.accounts, policy.SecretName{Namespace: namespace, Name: serviceAccount}); ok {
		return names, nil
	}
	if o.cluster == nil {
		return nil, nil
	}
	return o.cluster.accounts.PullSecrets(ctx, namespace, serviceAccount)
}

// publicKeyEntry is where cosign puts the public key in a Secret.
const publicKeyEntry = "cosign.pub"

// key is the one public key of a Secret.
func (o *objects) key(ctx context.Context, ref verify.Reference) (*verify.Key, error) {
	namespace, name := ref.Secret()
	unavailable := func(text string) *reason.Error {
		return &reason.Error{Code: reason.TrustMaterialUnavailable, Unreachable: true, Text: "the key " + string(ref) + " " + text}
	}
	switch err := o.need(ctx, policy.SecretName{Namespace: namespace, Name: name}); {
	case errors.Is(err, errNotGiven):
		return nil, unavailable("is in a cluster, and none is asked here; give its Secret by --resource, or write it to a file and use --key")
	case err != nil:
		return nil, unavailable("is not available: " + err.Error())
	}
	kind, data, err := o.Secret(ctx, namespace, name)
	switch {
	case err != nil:
		return nil, unavailable("cannot be read: " + err.Error())
	case kind == "":
		return nil, reason.New(reason.TrustMaterialUnavailable, "the key "+string(ref)+" is not available: there is no such Secret")
	}
	keys, err := verify.ParseKeys(string(data[publicKeyEntry]))
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("%d public keys, and a Secret stands for exactly one", len(keys))
	}
	var key *verify.Key
	if err == nil {
		key, err = verify.NewKey(keys[0])
	}
	if err != nil {
		return nil, reason.New(reason.TrustMaterialInvalid, "the key "+string(ref)+": "+publicKeyEntry+": "+err.Error())
	}
	return key, nil
}

// complete gives a Pod the pull secrets of its service account, as the API server would, if it names none and the account
// is among the objects given.
func (o *objects) complete(object map[string]any, namespace string) {
	spec, _ := object["spec"].(map[string]any)
	if list, _ := spec["imagePullSecrets"].([]any); spec == nil || len(list) > 0 {
		return
	}
	account, _ := spec["serviceAccountName"].(string)
	if account == "" {
		account = "default"
	}
	names, _ := find(o.accounts, policy.SecretName{Namespace: namespace, Name: account})
	var list []any
	for _, name := range names {
		list = append(list, map[string]any{"name": name})
	}
	if len(list) > 0 {
		spec["imagePullSecrets"] = list
	}
}
