// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// reviewUID is the UID of a review. uidFormat makes another one of a number, with the same length.
const (
	reviewUID = "5f2b1c9e-7c1a-4a57-9d3f-3a6c1b2d4e5f"
	uidFormat = "5f2b1c9e-7c1a-4a57-9d3f-%012x"
)

// review returns a review for the creation of a Pod with a container for each image. The Pod is
// created by a ReplicaSet if byController is true, and otherwise by a user. It has the fields that
// the API server's defaults and admission plugins set. With two containers, its size is about 3 KB.
// The fields of the review have the order in which an API server writes them, because
// tagpin-webhook refuses long reviews with another order.
func review(byController bool, images ...string) ([]byte, error) {
	if byController {
		return reviewOf(true, pod(controller(), images))
	}
	return reviewOf(false, pod([]any{}, images))
}

// controller returns the owners of a Pod that a ReplicaSet creates.
func controller() []any {
	return []any{values{
		"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-5d9c7b6f4",
		"uid": "0b8f6a56-1d1e-4d0c-9b0c-6b1a2f6c4d11", "controller": true, "blockOwnerDeletion": true,
	}}
}

// reviewOf returns a review for the creation of a Pod.
func reviewOf(byController bool, p values) ([]byte, error) {
	user := "jane"
	if byController {
		user = "system:serviceaccount:kube-system:replicaset-controller"
	}
	object, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	return json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: reviewUID, Kind: kind, Resource: resource,
			RequestKind: &kind, RequestResource: &resource,
			Namespace: "bench", Operation: admissionv1.Create, DryRun: new(bool),
			UserInfo: authenticationv1.UserInfo{
				Username: user, UID: "c9d8",
				Groups: []string{"system:serviceaccounts", "system:authenticated"},
			},
			Options: runtime.RawExtension{
				Raw: []byte(`{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}`),
			},
			Object: runtime.RawExtension{Raw: object},
		},
	})
}

type values = map[string]any

func pod(owners []any, images []string) values {
	containers := make([]any, len(images))
	for i, image := range images {
		containers[i] = container(fmt.Sprintf("c%d", i), image)
	}
	certificate := []any{values{"key": "ca.crt", "path": "ca.crt"}}
	sources := []any{
		values{"serviceAccountToken": values{"expirationSeconds": 3607, "path": "token"}},
		values{"configMap": values{"name": "kube-root-ca.crt", "items": certificate}},
	}
	return values{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": values{
			"generateName": "shop-5d9c7b6f4-", "namespace": "bench", "creationTimestamp": nil,
			"ownerReferences": owners,
			"labels": values{
				"app.kubernetes.io/name": "shop", "app.kubernetes.io/part-of": "bench",
				"pod-template-hash": "5d9c7b6f4",
			},
			"annotations": values{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
		},
		"spec": values{
			"containers": containers, "serviceAccountName": "default",
			"restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
			"terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
			"priority": 0, "enableServiceLinks": true,
			"securityContext": values{
				"runAsNonRoot": true, "seccompProfile": values{"type": "RuntimeDefault"},
			},
			"tolerations": []any{
				toleration("node.kubernetes.io/not-ready"),
				toleration("node.kubernetes.io/unreachable"),
			},
			"volumes": []any{values{
				"name":      "kube-api-access-x7k2p",
				"projected": values{"defaultMode": 420, "sources": sources},
			}},
		},
		"status": values{},
	}
}

func toleration(key string) values {
	return values{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
}

func container(name, image string) values {
	env := []any{}
	for _, variable := range []string{"LOG_LEVEL", "DATABASE_URL", "FEATURES"} {
		env = append(env, values{"name": variable, "value": "the value of " + variable})
	}
	return values{
		"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "env": env,
		"args":  []any{"--listen=:8080", "--verbose"},
		"ports": []any{values{"name": "http", "containerPort": 8080, "protocol": "TCP"}},
		"resources": values{
			"requests": values{"cpu": "100m", "memory": "128Mi"},
			"limits":   values{"memory": "256Mi"},
		},
		"readinessProbe": values{
			"httpGet":       values{"path": "/healthz", "port": 8080, "scheme": "HTTP"},
			"periodSeconds": 10, "timeoutSeconds": 1,
		},
		"securityContext": values{
			"allowPrivilegeEscalation": false, "capabilities": values{"drop": []any{"ALL"}},
		},
		"volumeMounts": []any{values{
			"name": "kube-api-access-x7k2p", "readOnly": true,
			"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
		}},
		"terminationMessagePath":   "/dev/termination-log",
		"terminationMessagePolicy": "File",
	}
}
