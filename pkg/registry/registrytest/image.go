// SPDX-License-Identifier: Apache-2.0

package registrytest

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Media types.
const (
	ImageType   = "application/vnd.oci.image.manifest.v1+json"
	IndexType   = "application/vnd.oci.image.index.v1+json"
	Schema1Type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	Schema2Type = "application/vnd.docker.distribution.manifest.v2+json"
	ListType    = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// The manifests of an image that a node can pull. Its only layer is an empty tar archive.
var (
	ImageBody = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`, ImageType,
		descriptor("application/vnd.oci.image.config.v1+json", config, ""),
		descriptor("application/vnd.oci.image.layer.v1.tar", layer, ""))
	IndexBody = fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,%s]}`, IndexType,
		descriptor(ImageType, ImageBody, `,"platform":{"os":"linux","architecture":"amd64"}`),
		descriptor(ImageType, ImageBody, `,"platform":{"os":"linux","architecture":"arm64"}`))
	Schema1Body = signed(fmt.Sprintf(`{"schemaVersion":1,"name":"app","tag":"1",`+
		`"fsLayers":[{"blobSum":%q}],"history":[{"v1Compatibility":%q}]}`,
		digest.FromString(layer), `{"id":"a","created":"2020-01-01T00:00:00Z","os":"linux"}`))

	layer  = strings.Repeat("\x00", 1024)
	config = fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[%q]}}`,
		digest.FromString(layer))
	blobs = map[string]string{
		digest.FromString(config).String(): config, digest.FromString(layer).String(): layer,
	}
)

// descriptor returns a descriptor of some content, with more fields.
func descriptor(mediaType, content, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`,
		mediaType, digest.FromString(content), len(content), more)
}

// signed returns a schema 1 manifest with the envelope of its signature, without the signature
// itself, which nobody checks any more.
func signed(manifest string) string {
	open := strings.TrimSuffix(manifest, "}")
	encode := base64.RawURLEncoding.EncodeToString
	protected := fmt.Sprintf(`{"formatLength":%d,"formatTail":%q}`, len(open), encode([]byte("}")))
	return fmt.Sprintf(`%s,"signatures":[{"protected":%q}]}`, open, encode([]byte(protected)))
}
