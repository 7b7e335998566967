# One static file on nothing: no shell, no packages, and a user that isn't root. Built by Go outside of any container, for
# each architecture on any other: `make docker-build` and `make image` put the binaries into the context by their platform,
# as GoReleaser does.
#
# No CA certificates: the API server's come with the pod, and the operator asks no server on the Internet.
FROM scratch
ARG TARGETPLATFORM
COPY ${TARGETPLATFORM}/clusterpki /usr/local/bin/clusterpki
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["clusterpki"]
LABEL org.opencontainers.image.title=clusterpki \
  org.opencontainers.image.description="An operator that manages the PKI of Kubernetes clusters as custom resources" \
  org.opencontainers.image.licenses=Apache-2.0
