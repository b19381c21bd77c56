# SPDX-License-Identifier: Apache-2.0
# Two stages: both binaries, static and reproducible; then nothing but them and the CA certificates.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY pkg pkg
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
    -ldflags "-s -w -buildid= -X main.version=$VERSION" -o /out/ ./cmd/tagpin ./cmd/tagpin-webhook

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/tagpin /out/tagpin-webhook /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/tagpin-webhook"]
