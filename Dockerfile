# SPDX-License-Identifier: Apache-2.0
# This builds tagpin's image with a container engine. "make image" builds a similar one without a
# container engine, for all platforms and with SBOMs.
#
# The first stage builds both binaries with the command in the Makefile. The second stage adds them
# to distroless's image for static programs. The tags of both base images can move. To build the
# same image again, add to each of them the digest that "tagpin resolve" prints, and keep it up to
# date.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.version=$VERSION" -o /out/ ./cmd/...

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/tagpin /out/tagpin-webhook /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tagpin-webhook"]
