# SPDX-License-Identifier: Apache-2.0
# For who has a container engine; make image makes its like without one, for all platforms and with SBOMs. Two stages: both
# binaries, by the line of the Makefile; then nothing but them and what distroless has for static programs.
# The bases stand by their tags, which move: to make the same image again, write behind each of them the digest that
# tagpin resolve prints, and keep it up to date; make image needs none.
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
