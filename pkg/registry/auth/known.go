// SPDX-License-Identifier: Apache-2.0

package auth

import "regexp"

// region is the name of a region in a host of Alibaba Cloud, such as cn-hangzhou or ap-southeast-1.
const region = `([a-z]{2}(?:-[a-z0-9]+)+)`

// alibabaRealms are the hosts of Alibaba Cloud's token endpoints for a region.
var alibabaRealms = []string{
	"dockerauth.$1.aliyuncs.com", "dockerauth-vpc.$1.aliyuncs.com",
	"dockerauth-ee.$1.aliyuncs.com", "dockerauth-ee-vpc.$1.aliyuncs.com",
	"dockerauth-$1.aliyuncs.com", // in Zhangjiakou and Guangzhou
}

var hangzhouRealm = []string{"dockerauth.cn-hangzhou.aliyuncs.com"}

// knownRealms are registries whose tokens come from other hosts of the same operator. Nobody else
// can have a host that fits a pattern, or one of the realms that it leads to. The sources are in
// pkg/registry/README.md.
var knownRealms = []struct {
	registry *regexp.Regexp
	realms   []string // $1 stands for what the first group of the pattern matches
}{
	{regexp.MustCompile(`^registry-1\.docker\.io$`), []string{"auth.docker.io"}},
	{regexp.MustCompile(`^registry\.gitlab\.com$`), []string{"gitlab.com"}},
	{regexp.MustCompile(`^registry\.digitalocean\.com$`), []string{"api.digitalocean.com"}},
	{regexp.MustCompile(`^rg\.[a-z]{2}-[a-z]{3}\.scw\.cloud$`), []string{"api.scaleway.com"}},
	// These are the hosts of personal instances, the older and the newer ones, and then of those of
	// enterprises, whose names begin with what the customer has chosen.
	{regexp.MustCompile(`^registry(?:-intl)?(?:-vpc)?\.` + region + `\.aliyuncs\.com$`), alibabaRealms},
	{regexp.MustCompile(`^crpi-[a-z0-9-]+\.` + region + `\.personal\.cr\.aliyuncs\.com$`), alibabaRealms},
	{regexp.MustCompile(`^[a-z0-9-]+-registry(?:-vpc)?\.` + region + `\.cr\.aliyuncs\.com$`), alibabaRealms},
	// Hangzhou also issues the tokens of personal instances in other regions of mainland China.
	{regexp.MustCompile(`^registry(?:(?:-vpc)?\.cn-[a-z0-9-]+)?\.aliyuncs\.com$`), hangzhouRealm},
	{regexp.MustCompile(`^crpi-[a-z0-9-]+\.cn-[a-z0-9-]+\.personal\.cr\.aliyuncs\.com$`), hangzhouRealm},
}

// KnownRealms returns the hosts of a registry's token endpoints that are known beside the
// registry's own host. host is in its canonical spelling.
func KnownRealms(host string) []string {
	var realms []string
	for _, known := range knownRealms {
		match := known.registry.FindStringSubmatchIndex(host)
		if match == nil {
			continue
		}
		for _, realm := range known.realms {
			realms = append(realms, string(known.registry.ExpandString(nil, realm, host, match)))
		}
	}
	return realms
}
