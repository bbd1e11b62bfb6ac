package e2e

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A rule about Pods is one about everything that makes Pods (VI 4.5; seed 21).
func TestControllers(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	none := map[string]any{"replicas": int64(0)}
	for kind, c := range map[string]struct {
		group, resource string
		spec            map[string]any
		template        []string // fields that lead to the pod template
		restart, rule   string
	}{
		"Deployment":            {"apps", "deployments", none, []string{"spec", "template"}, "Always", "autogen-check"},
		"StatefulSet":           {"apps", "statefulsets", map[string]any{"replicas": int64(0), "serviceName": "a"}, []string{"spec", "template"}, "Always", "autogen-check"},
		"DaemonSet":             {"apps", "daemonsets", nil, []string{"spec", "template"}, "Always", "autogen-check"},
		"ReplicationController": {"", "replicationcontrollers", none, []string{"spec", "template"}, "Always", "autogen-check"},
		"Job":                   {"batch", "jobs", map[string]any{"suspend": true}, []string{"spec", "template"}, "Never", "autogen-check"},
		"CronJob":               {"batch", "cronjobs", map[string]any{"schedule": "@yearly", "suspend": true}, []string{"spec", "jobTemplate", "spec", "template"}, "Never", "autogen-cronjob-check"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			object := func(name, image string) *unstructured.Unstructured {
				o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
				o.SetGroupVersionKind(schema.GroupVersionKind{Group: c.group, Version: "v1", Kind: kind})
				o.SetName(name)
				for field, value := range c.spec {
					mustSet(t, o, value, "spec", field)
				}
				labels := map[string]any{"app": name}
				mustSet(t, o, map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec": map[string]any{"restartPolicy": c.restart,
						"containers": []any{map[string]any{"name": "c0", "image": image}}},
				}, c.template...)
				switch kind {
				case "Job", "CronJob":
				case "ReplicationController":
					mustSet(t, o, labels, "spec", "selector")
				default:
					mustSet(t, o, map[string]any{"matchLabels": labels}, "spec", "selector")
				}
				return o
			}
			client := u.dynamic.Resource(schema.GroupVersionResource{Group: c.group, Version: "v1", Resource: c.resource}).Namespace(ns)
			_, err := client.Create(t.Context(), object("bad", images.bad), metav1.CreateOptions{})
			wantBlocked(t, err, blocked("mutate.kyverno.svc-fail", kind, ns, "bad", said("signed", c.rule, images.objection())))

			got, err := client.Create(t.Context(), object("good", images.good), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			containers, _, _ := unstructured.NestedSlice(got.Object, append(append([]string(nil), c.template...), "spec", "containers")...)
			if image := containers[0].(map[string]any)["image"]; image != images.pinned {
				t.Errorf("image %s, want %s", image, images.pinned)
			}
			want := fmt.Sprintf("{\"%s@%s\":\"pass\"}", strings.TrimSuffix(images.good, ":1"), shared.images.signed.digest)
			if a := got.GetAnnotations(); a[annotation] != want || !strings.Contains(a[scopedAnnotation], `"`+c.rule+`"`) {
				t.Errorf("annotations %v, want %s", a, want)
			}
			inTemplate, found, _ := unstructured.NestedMap(got.Object, append(append([]string(nil), c.template...), "metadata", "annotations")...)
			if found && (inTemplate[annotation] != nil || inTemplate[scopedAnnotation] != nil) {
				t.Errorf("annotations in the template: %v", inTemplate)
			}
		})
	}
}

// The Pods that a controller makes are judged again, and come up with the digest that was verified.
func TestPodsOfControllers(t *testing.T) {
	t.Parallel()
	shared.run(t, "")
	u, ns, images := newUser(t), namespace(t), newPair(t)
	u.apply(t, rule{}.in(ns))
	d := deployment("good", images.good)
	one := int32(1)
	d.Spec.Replicas = &one
	if _, err := u.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Deployment's Pod", func() error {
		pods, err := u.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=good"})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("%d Pods", len(pods.Items))
		}
		if p := &pods.Items[0]; p.Spec.Containers[0].Image != images.pinned || p.Annotations[annotation] == "" {
			return fmt.Errorf("image %s, annotations %v", p.Spec.Containers[0].Image, p.Annotations)
		}
		return nil
	})
}

func mustSet(t testing.TB, o *unstructured.Unstructured, value any, fields ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(o.Object, value, fields...); err != nil {
		t.Fatal(err)
	}
}
