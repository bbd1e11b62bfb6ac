package e2e

import (
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	reports "github.com/signet-policy/signet/api/wgpolicyk8s/v1alpha2"
	"github.com/signet-policy/signet/pkg/registry/registrytest"
)

// The samples about which objects, for whom and how strictly; see TestFeatureSamples.

func (s *featureSample) tektonTasks() {
	tasks := s.dynamic.Resource(schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "tasks"}).Namespace(s.ns)
	task := func(step, sidecar, template string) (*unstructured.Unstructured, error) {
		one := func(name, image string) []any { return []any{map[string]any{"name": name, "image": image}} }
		return tasks.Create(s.t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": map[string]any{"name": fmt.Sprintf("task-%d", shared.names.Add(1))},
			"spec": map[string]any{"steps": one("build", step), "sidecars": one("db", sidecar), "stepTemplate": map[string]any{"image": template}},
		}}, metav1.CreateOptions{})
	}
	got, err := task(s.images.good, s.images.good, s.images.good)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, pointer := range []string{"/spec/steps/0/image", "/spec/sidecars/0/image", "/spec/stepTemplate/image"} {
		if image := pointed(got.Object, pointer); image != s.images.pinned {
			s.t.Errorf("%s: %v, want %s", pointer, image, s.images.pinned)
		}
	}
	for place, images := range map[string][3]string{
		"step": {s.images.bad, s.images.good, s.images.good}, "sidecar": {s.images.good, s.images.bad, s.images.good},
		"template": {s.images.good, s.images.good, s.images.bad},
	} {
		if _, err := task(images[0], images[1], images[2]); err == nil {
			s.t.Errorf("an unsigned image of a %s is admitted", place)
		} else {
			wantRefused(s.t, err, "signed-steps", s.images.objection())
		}
	}
	s.untouched(s.ns, s.images.bad) // Pods are of no concern
}

func (s *featureSample) breakGlass() {
	s.pins(s.ns)
	s.refuses(s.ns, "mutate.kyverno.svc-fail-finegrained-break-glass", s.images.bad)
	incident := func(p *corev1.Pod) *corev1.Pod {
		p.Annotations = map[string]string{"example.com/incident": "INC-1"}
		return p
	}
	_, err := s.create(s.t, s.ns, incident(s.fresh(s.images.bad)))
	wantRefused(s.t, err, "no signatures found")
	helper := s.as("jo", "system:masters", "break-glass")
	helper.refuses(s.ns, "no signatures found", s.images.bad)
	p := helper.mustCreate(s.t, s.ns, incident(s.fresh(s.images.bad)))
	if p.Spec.Containers[0].Image != s.images.bad {
		s.t.Errorf("the image became %s", p.Spec.Containers[0].Image)
	}
	// A deletion has no object, and the condition has to hold for it.
	if err := helper.CoreV1().Pods(s.ns).Delete(s.t.Context(), p.Name, metav1.DeleteOptions{}); err != nil {
		s.t.Error(err)
	}
}

func (s *featureSample) peopleByRole() {
	bind := func(name, kind, role string, subject rbacv1.Subject) {
		b := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + s.ns}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
			Subjects: []rbacv1.Subject{subject}}
		if _, err := s.RbacV1().RoleBindings("payments").Create(s.t.Context(), b, metav1.CreateOptions{}); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = s.RbacV1().RoleBindings("payments").Delete(contextOf(s.t), b.Name, metav1.DeleteOptions{}) })
	}
	person := func(name string) rbacv1.Subject {
		return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}
	}
	manager := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "release-manager"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create"}}}}
	if _, err := s.RbacV1().Roles("payments").Create(s.t.Context(), manager, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.RbacV1().Roles("payments").Delete(contextOf(s.t), manager.Name, metav1.DeleteOptions{}) })
	bind("developer", "ClusterRole", "edit", person("dev"))
	bind("manager-edits", "ClusterRole", "edit", person("boss"))
	bind("manager", "Role", "release-manager", person("boss"))
	bind("deployer", "ClusterRole", "edit", rbacv1.Subject{Kind: "ServiceAccount", Namespace: "payments", Name: "deployer"})
	developer := s.as("dev")
	eventually(s.t, "the developer's role to be known", func() error {
		if _, err := developer.create(s.t, "payments", s.fresh(s.images.bad)); err == nil || !strings.Contains(spaced(err.Error()), "no signatures found") {
			return fmt.Errorf("got %v", err) //nolint:errorlint // may be nil
		}
		return nil
	})
	developer.admits("payments", s.images.good)
	eventually(s.t, "the manager to be let through", func() error {
		_, err := s.as("boss").create(s.t, "payments", s.fresh(s.images.bad))
		return err
	})
	s.as("system:serviceaccount:payments:deployer", "system:serviceaccounts", "system:authenticated").admits("payments", s.images.bad)
	s.untouched("payments", s.images.bad) // the cluster's admin holds neither role
}

func (s *featureSample) teamPolicy() {
	s.refuses("payments", "signed-by-the-team", s.images.bad)
	s.pins("payments")
	s.untouched(s.ns, s.images.bad)
}

func (s *featureSample) someControllers() {
	d := deployment("web", s.images.bad)
	_, err := s.AppsV1().Deployments(s.ns).Create(s.t.Context(), d, metav1.CreateOptions{})
	wantRefused(s.t, err, "autogen-signed", s.images.objection())
	suspended := true
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: batchv1.JobSpec{Suspend: &suspended, Template: corev1.PodTemplateSpec{Spec: s.fresh(s.images.bad).Spec}}}
	job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	if _, err := s.BatchV1().Jobs(s.ns).Create(s.t.Context(), job, metav1.CreateOptions{}); err != nil {
		s.t.Errorf("a Job is judged itself: %v", err)
	}
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "cron"}, Spec: batchv1.CronJobSpec{Schedule: "@yearly", Suspend: &suspended, JobTemplate: batchv1.JobTemplateSpec{Spec: job.Spec}}}
	cron.Spec.JobTemplate.Spec.Suspend = nil
	_, err = s.BatchV1().CronJobs(s.ns).Create(s.t.Context(), cron, metav1.CreateOptions{})
	wantRefused(s.t, err, "autogen-cronjob-signed", s.images.objection())
	s.refuses(s.ns, s.images.objection(), s.images.bad)
}

func (s *featureSample) outage() {
	s.refuses(s.ns, "no signatures found", s.images.bad)
	s.pins(s.ns)
	repo := repository(s.t, "away")
	image := push(shared.registry, repo, "1", &shared.images.signed) + "@" + shared.images.signed.digest
	s.t.Cleanup(shared.registry.Fault(registrytest.Match{Repository: repo}, registrytest.Close()))
	s.warns(s.ns, "policy outage-does-not-stop-us.signed-if-known: failed to verify image "+image, image)
}

func (s *featureSample) releases() {
	s.untouched(s.ns, s.images.bad)
	s.refuses("production-1", "no signatures found", s.images.bad)
	s.refuses(s.ns, "no signatures found", s.unsigned("e2e/release", "v1.2.0"))
	s.refuses(s.ns, "no signatures found", s.images.good, s.unsigned("e2e/release", "v2"))
	p := s.fresh(s.images.good)
	p.Labels = map[string]string{"team": "search"}
	p = s.mustCreate(s.t, "production-1", p)
	s.report(s.t, "production-1", string(p.UID), func(r *reports.PolicyReport) error {
		for i := range r.Results {
			if got := r.Results[i].Properties; got["contact"] == "release-team@example.com" && got["deployed-by"] == "search" {
				return nil
			}
		}
		return fmt.Errorf("results %+v", r.Results)
	})
}

// The sample of an exception lets through what it names, where exceptions are looked at, and nothing else.
func TestExceptionSample(t *testing.T) {
	shared.run(t, "", "--enablePolicyException", "--exceptionNamespace=exceptions")
	if err := shared.cluster.EnsureNamespace(t.Context(), "exceptions"); err != nil {
		t.Fatal(err)
	}
	s := &featureSample{user: newUser(t), t: t, ns: metav1.NamespaceDefault, images: newPair(t), policy: readFeatureSample(t, "verify-signed-images.yaml")}
	s.apply(t, s.policy)
	legacy := func(name, project string) (*corev1.Pod, error) {
		p := pod(fmt.Sprintf("%s-%d", name, shared.names.Add(1)), s.images.bad)
		p.Labels = map[string]string{"replaced-by": project}
		return s.create(t, s.ns, p)
	}
	_, err := legacy("billing-legacy", "PROJECT-7")
	wantRefused(t, err, "no signatures found")
	x := readFeatureSample(t, "exception-for-legacy.yaml")
	client := s.dynamic.Resource(exceptions("v2")).Namespace(x.GetNamespace())
	if _, err := client.Create(t.Context(), x, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Delete(contextOf(t), x.GetName(), metav1.DeleteOptions{}) })
	eventually(t, "the exception to apply", func() error {
		p, err := legacy("billing-legacy", "PROJECT-7")
		if err == nil && (p.Spec.Containers[0].Image != s.images.bad || p.Annotations[annotation] != "") {
			t.Errorf("the Pod was changed: %s %v", p.Spec.Containers[0].Image, p.Annotations)
		}
		return err
	})
	_, err = legacy("billing-legacy", "")
	wantRefused(t, err, "no signatures found")
	_, err = legacy("billing", "PROJECT-7")
	wantRefused(t, err, "no signatures found")
	d := deployment(fmt.Sprintf("billing-legacy-%d", shared.names.Add(1)), s.images.bad)
	d.Labels = map[string]string{"replaced-by": "PROJECT-7"}
	if _, err := s.AppsV1().Deployments(s.ns).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Errorf("a Deployment: %v", err)
	}
}
