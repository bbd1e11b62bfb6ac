package api_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// policyColumns is VI 1.1, in order.
var policyColumns = []apiextensionsv1.CustomResourceColumnDefinition{
	{Name: "ADMISSION", Type: "boolean", JSONPath: ".spec.admission"},
	{Name: "BACKGROUND", Type: "boolean", JSONPath: ".spec.background"},
	{Name: "READY", Type: "string", JSONPath: `.status.conditions[?(@.type == "Ready")].status`},
	{Name: "AGE", Type: "date", JSONPath: ".metadata.creationTimestamp"},
	{Name: "FAILURE POLICY", Type: "string", JSONPath: ".spec.failurePolicy", Priority: 1},
	{Name: "VALIDATE", Type: "integer", JSONPath: ".status.rulecount.validate", Priority: 1},
	{Name: "MUTATE", Type: "integer", JSONPath: ".status.rulecount.mutate", Priority: 1},
	{Name: "GENERATE", Type: "integer", JSONPath: ".status.rulecount.generate", Priority: 1},
	{Name: "VERIFY IMAGES", Type: "integer", JSONPath: ".status.rulecount.verifyimages", Priority: 1},
	{Name: "MESSAGE", Type: "string", JSONPath: `.status.conditions[?(@.type == "Ready")].message`},
}

// entryColumns is VI 9(4), in order.
var entryColumns = []apiextensionsv1.CustomResourceColumnDefinition{
	{Name: "AGE", Type: "date", JSONPath: ".metadata.creationTimestamp"},
	{Name: "REFRESH INTERVAL", Type: "string", JSONPath: ".spec.apiCall.refreshInterval"},
	{Name: "LAST REFRESH", Type: "date", JSONPath: ".status.lastRefreshTime"},
}

// reportColumns is VI 8.1(6), in order.
var reportColumns = []apiextensionsv1.CustomResourceColumnDefinition{
	{Name: "Kind", Type: "string", JSONPath: ".scope.kind"},
	{Name: "Name", Type: "string", JSONPath: ".scope.name"},
	{Name: "Pass", Type: "integer", JSONPath: ".summary.pass"},
	{Name: "Fail", Type: "integer", JSONPath: ".summary.fail"},
	{Name: "Warn", Type: "integer", JSONPath: ".summary.warn"},
	{Name: "Error", Type: "integer", JSONPath: ".summary.error"},
	{Name: "Skip", Type: "integer", JSONPath: ".summary.skip"},
	{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"},
}

// VI 1.1 and 8.1(1): what users type and see.
func TestDefinitionNames(t *testing.T) {
	t.Parallel()
	type served struct {
		Name            string
		Served, Storage bool
		Status          bool
	}
	policyVersions := []served{{Name: "v1", Served: true, Storage: true, Status: true}, {Name: "v2beta1", Served: true, Status: true}}
	reportVersions := []served{{Name: "v1alpha2", Served: true, Storage: true}}
	tests := map[string]struct {
		group    string
		scope    apiextensionsv1.ResourceScope
		names    apiextensionsv1.CustomResourceDefinitionNames
		versions []served
		columns  []apiextensionsv1.CustomResourceColumnDefinition

		deprecated []string // versions
	}{
		"kyverno.io_clusterpolicies.yaml": {
			group: "kyverno.io", scope: apiextensionsv1.ClusterScoped, versions: policyVersions, columns: policyColumns,
			names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "clusterpolicies", Singular: "clusterpolicy", ShortNames: []string{"cpol"},
				Kind: "ClusterPolicy", ListKind: "ClusterPolicyList", Categories: []string{"kyverno"},
			},
		},
		"kyverno.io_policies.yaml": {
			group: "kyverno.io", scope: apiextensionsv1.NamespaceScoped, versions: policyVersions, columns: policyColumns,
			names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "policies", Singular: "policy", ShortNames: []string{"pol"},
				Kind: "Policy", ListKind: "PolicyList", Categories: []string{"kyverno"},
			},
		},
		"kyverno.io_globalcontextentries.yaml": {
			group: "kyverno.io", scope: apiextensionsv1.ClusterScoped, columns: entryColumns, deprecated: []string{"v2alpha1"},
			versions: []served{{Name: "v2", Served: true, Status: true}, {Name: "v2alpha1", Served: true, Status: true}, {Name: "v2beta1", Served: true, Storage: true, Status: true}},
			names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "globalcontextentries", Singular: "globalcontextentry", ShortNames: []string{"gctxentry"},
				Kind: "GlobalContextEntry", ListKind: "GlobalContextEntryList", Categories: []string{"kyverno"},
			},
		},
		"wgpolicyk8s.io_clusterpolicyreports.yaml": {
			group: "wgpolicyk8s.io", scope: apiextensionsv1.ClusterScoped, versions: reportVersions, columns: reportColumns,
			names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "clusterpolicyreports", Singular: "clusterpolicyreport", ShortNames: []string{"cpolr"},
				Kind: "ClusterPolicyReport", ListKind: "ClusterPolicyReportList",
			},
		},
		"wgpolicyk8s.io_policyreports.yaml": {
			group: "wgpolicyk8s.io", scope: apiextensionsv1.NamespaceScoped, versions: reportVersions, columns: reportColumns,
			names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "policyreports", Singular: "policyreport", ShortNames: []string{"polr"},
				Kind: "PolicyReport", ListKind: "PolicyReportList",
			},
		},
	}
	for file, tt := range tests {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			crd := readCRD(t, file)
			if crd.Spec.Group != tt.group || crd.Spec.Scope != tt.scope || crd.Name != tt.names.Plural+"."+tt.group {
				t.Errorf("group %q, scope %q, name %q", crd.Spec.Group, crd.Spec.Scope, crd.Name)
			}
			if crd.Spec.Conversion != nil {
				t.Errorf("conversion %+v, want none", crd.Spec.Conversion)
			}
			if diff := cmp.Diff(tt.names, crd.Spec.Names); diff != "" {
				t.Error(diff)
			}
			var versions []served
			for _, v := range crd.Spec.Versions {
				versions = append(versions, served{v.Name, v.Served, v.Storage, v.Subresources != nil && v.Subresources.Status != nil})
				if v.Deprecated != slices.Contains(tt.deprecated, v.Name) {
					t.Errorf("%s is marked deprecated: %v", v.Name, v.Deprecated)
				}
				if diff := cmp.Diff(tt.columns, v.AdditionalPrinterColumns, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: %s", v.Name, diff)
				}
			}
			if diff := cmp.Diff(tt.versions, versions); diff != "" {
				t.Error(diff)
			}
		})
	}
}
