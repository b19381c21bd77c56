// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// packaging has the flags of "helm package", which writes the chart of a release as an archive.
type packaging struct {
	version, imageTag, imageDigest, output string
	seconds                                int64 // since the Unix epoch
}

// packageChart writes the archive and prints its path.
func packageChart(args []string, stdout io.Writer) error {
	var p packaging
	flags := flag.NewFlagSet("package", flag.ContinueOnError)
	flags.StringVar(&p.version, "version", "", "`version` of the chart, such as 1.2.3")
	flags.StringVar(&p.imageTag, "tag", "", "`tag` of the image, which becomes the appVersion")
	flags.StringVar(&p.imageDigest, "digest", "", "`digest` of the image, which the chart installs")
	flags.Int64Var(&p.seconds, "epoch", 0,
		"`seconds` since the Unix epoch, which become the time of the archive's files")
	flags.StringVar(&p.output, "output", "", "`folder` to write the archive to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chart, err := loader.LoadDir(chartDir)
	if err != nil {
		return err
	}
	if err := p.stamp(chart); err != nil {
		return err
	}
	path, err := chartutil.Save(chart, p.output)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, path)
	return nil
}

// noDigest is the line of values.yaml that has the digest of the image.
const noDigest = "\n  digest: \"\"\n"

// stamp makes a chart that of a release: it installs the image of the release by its digest. All
// files get the same time, so that one commit always has the same archive.
func (p packaging) stamp(c *v2.Chart) error {
	repository, _ := c.Values["image"].(map[string]any)["repository"].(string)
	if p.imageTag == "" || p.imageDigest == "" || p.seconds == 0 || repository == "" {
		return errors.New("package needs --tag, --digest and --epoch, and the image of the chart")
	}
	c.Metadata.Version, c.Metadata.AppVersion = p.version, p.imageTag
	// Artifact Hub scans the images in this list.
	c.Metadata.Annotations["artifacthub.io/images"] = fmt.Sprintf(
		"- name: tagpin-webhook\n  image: %s:%s@%s\n", repository, p.imageTag, p.imageDigest)
	c.Metadata.Annotations["artifacthub.io/prerelease"] = fmt.Sprint(strings.Contains(p.version, "-"))
	at := time.Unix(p.seconds, 0).UTC()
	c.ModTime, c.SchemaModTime = at, at
	for _, files := range [][]*common.File{c.Raw, c.Templates, c.Files} {
		for _, f := range files {
			f.ModTime = at
			if f.Name != chartutil.ValuesfileName {
				continue
			}
			text := string(f.Data)
			if strings.Count(text, noDigest) != 1 {
				return fmt.Errorf("%s does not have the line %q once", f.Name, noDigest)
			}
			digest := strings.Replace(noDigest, `""`, p.imageDigest, 1)
			f.Data = []byte(strings.Replace(text, noDigest, digest, 1))
		}
	}
	return nil
}
