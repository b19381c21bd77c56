// SPDX-License-Identifier: Apache-2.0

package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// canary is part of every credential of an attacker, by which it is found where it must not be.
const canary = "attacker-canary"

// auth returns an entry of a Docker config.
func auth(user, password string) map[string]string {
	return map[string]string{"username": user, "password": password}
}

func dockerConfig(auths any) []byte {
	config, _ := json.Marshal(map[string]any{"auths": auths}) // can't fail
	return config
}

// hostOf returns the host of a reference.
func hostOf(image string) string {
	host, _, _ := strings.Cut(image, "/")
	return host
}

// BrokenToken deploys images of the victim's registry with a pull secret whose token has a line
// break, so that no request can be made with it.
func BrokenToken() Attack {
	return Attack{"broken-token", func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		image := target.images()[0]
		entry := map[string]string{"registrytoken": canary + "\ny"}
		config := dockerConfig(map[string]any{hostOf(image): entry})
		if err := t.secret(ctx, "broken", config); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			for i := range 10 {
				_, _ = t.deploy(ctx, newPod([]string{fmt.Sprintf("%s-%d", image, i)}, "broken"))
				_, _ = t.deploy(ctx, newPod([]string{image}, "broken"))
			}
			return nil
		}, nil
	}}
}

const (
	manySecrets = 64
	manyEntries = 1024
	// mostLogins is how many credentials may be tried for a lookup.
	mostLogins = 16
)

// ManyCredentials has a pod with many pull secrets, each with a thousand credentials for one host,
// which refuses all of them.
func ManyCredentials() Attack {
	return Attack{"many-credentials", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		h, err := t.Serve(ctx, challenge(`Basic realm="r"`))
		if err != nil {
			return nil, err
		}
		var names []string
		for i := range manySecrets {
			auths := map[string]any{}
			for j := range manyEntries {
				user := fmt.Sprintf("user-%d-%d", i, j)
				auths[fmt.Sprintf("%s?%04d", h.Address, j)] = auth(user, canary)
			}
			names = append(names, fmt.Sprintf("many-%d", i))
			if err := t.secret(ctx, names[i], dockerConfig(auths)); err != nil {
				return nil, err
			}
		}
		lookups := int64(0)
		return func(ctx context.Context) error {
			const pods = 8
			together(pods, func(i int) {
				_, _ = t.deploy(ctx, newPod([]string{h.image(i)}, names...))
			})
			lookups += pods
			if got := h.Requests(); got < lookups {
				return fmt.Errorf("%d lookups made %d requests: selecting credentials took all the time",
					lookups, got)
			}
			// The secrets are tried twice, because they are read again, each time with an anonymous request.
			if got := h.Requests(); got > lookups*2*(mostLogins+1) {
				return fmt.Errorf("%d lookups made %d requests, want at most %d credentials for each",
					lookups, got, mostLogins)
			}
			return nil
		}, nil
	}}
}

// SlowGlobs has pods with pull secrets whose entries are globs that take long to compare, and with
// many images, each of which is at another host.
func SlowGlobs() Attack {
	return Attack{"slow-globs", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		const secrets, pods, perPod = 8, 64, 64
		label := strings.Repeat("a", 58)
		// It is compared with the whole host, and does not match its last label.
		glob := strings.Repeat("*"+label[:55]+".", 3) + "*" + label[:50] + "b?"
		var names []string
		for i := range secrets {
			auths := map[string]any{}
			for j := range manyEntries {
				auths[fmt.Sprint(glob, i*manyEntries+j)] = auth("user", canary)
			}
			names = append(names, fmt.Sprintf("globs-%d", i))
			if err := t.secret(ctx, names[i], dockerConfig(auths)); err != nil {
				return nil, err
			}
		}
		var n atomic.Int64
		return inParallel(pods, func(ctx context.Context, _ int) {
			var images []string
			for range perPod {
				host := fmt.Sprintf("%[1]s.%[1]s.%[1]s.%[2]s%[3]d", label, label[:48], n.Add(1))
				images = append(images, host+"/app:1")
			}
			_, _ = t.deploy(ctx, newPod(images, names...))
		}), nil
	}}
}

// LargeCredentials has pull secrets of the maximum size, each with one credential for a host that
// hangs, and pods with many images of that host.
func LargeCredentials() Attack {
	return Attack{"large-credentials", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		h, err := t.Serve(ctx, hang)
		if err != nil {
			return nil, err
		}
		const secrets, size = 15, 1000 << 10
		var names, images []string
		for i := range secrets {
			names = append(names, fmt.Sprintf("large-%d", i))
			large := auth(fmt.Sprint("user-", i), canary+strings.Repeat("x", size))
			config := dockerConfig(map[string]any{fmt.Sprintf("%s?%d", h.Address, i): large})
			if err := t.secret(ctx, names[i], config); err != nil {
				return nil, err
			}
		}
		for i := range 2 * secrets {
			images = append(images, h.image(i))
		}
		const pods = 8
		return inParallel(pods, func(ctx context.Context, _ int) {
			_, _ = t.deploy(ctx, newPod(images, names...))
		}), nil
	}}
}

// WaitingCredentials has images of a registry that hangs, and more pull secrets than are
// remembered. Sixteen large credentials fit each image, and no other has the same ones.
func WaitingCredentials() Attack {
	return Attack{"waiting-credentials", func(
		ctx context.Context, t *Tenant, _ *Victim,
	) (Round, error) {
		h, err := t.Serve(ctx, hang)
		if err != nil {
			return nil, err
		}
		const secrets, perSecret, size, pods, perPod = 24, 3, 16_000, 32, 6
		path := func(i, length int) string {
			return fmt.Sprintf("%s/n%d%s", h.Address, i, strings.Repeat("x", length))
		}
		var names, images []string
		for s := range secrets {
			auths := map[string]any{}
			for i := s * perSecret; i < (s+1)*perSecret; i++ {
				for length := range mostLogins {
					user := fmt.Sprintf("user-%d-%d", i, length)
					auths[path(i, length)] = auth(user, canary+strings.Repeat("x", size))
				}
				images = append(images, path(i, mostLogins))
			}
			names = append(names, fmt.Sprint("waiting-", s))
			if err := t.secret(ctx, names[s], dockerConfig(auths)); err != nil {
				return nil, err
			}
		}
		return inParallel(pods, func(ctx context.Context, i int) {
			first := i * perPod % secrets
			var tags []string
			for _, image := range images[first*perSecret : (first+perPod)*perSecret] {
				tags = append(tags, fmt.Sprintf("%s:%d", image, i))
			}
			_, _ = t.deploy(ctx, newPod(tags, names[first:first+perPod]...))
		}), nil
	}}
}

// LongNames has a service account whose pull secrets don't exist and have names of 300,000 bytes,
// which the API server accepts, and Deployments with many images that a registry refuses.
func LongNames() Attack {
	return Attack{"long-names", func(ctx context.Context, t *Tenant, _ *Victim) (Round, error) {
		const secrets, length, deployments, perDeployment = 4, 300_000, 32, 64
		h, err := t.Serve(ctx, challenge(`Basic realm="r"`))
		if err != nil {
			return nil, err
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "long-names"}}
		for i := range secrets {
			name := fmt.Sprint(i, strings.Repeat("x", length))
			account.ImagePullSecrets = append(account.ImagePullSecrets,
				corev1.LocalObjectReference{Name: name})
		}
		api := t.Client.CoreV1().ServiceAccounts(t.Namespace)
		if _, err := api.Create(ctx, account, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
		return inParallel(deployments, func(ctx context.Context, i int) {
			var images []string
			for j := range perDeployment {
				images = append(images, h.image(i*perDeployment+j))
			}
			d := newDeployment(images)
			d.Spec.Template.Spec.ServiceAccountName = account.Name
			_, _ = t.deploy(ctx, d)
		}), nil
	}}
}

// Typos deploys misspelled images with the victim's own credential. The victim's registry answers
// 401 for them.
func Typos() Attack {
	return Attack{"typos", func(ctx context.Context, t *Tenant, target *Victim) (Round, error) {
		host := hostOf(target.images()[0])
		config := dockerConfig(map[string]any{host: auth(strictUser, strictPassword)})
		if err := t.secret(ctx, "shared", config); err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			for i := range 10 {
				image := fmt.Sprintf("%s/team/typo-%d:1", host, i%3)
				_, _ = t.deploy(ctx, newPod([]string{image}, "shared"))
			}
			return nil
		}, nil
	}}
}
