FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /clusterpki ./cmd

# No shell, no packages, and a user that isn't root.
FROM gcr.io/distroless/static:nonroot
COPY --from=build /clusterpki /usr/local/bin/clusterpki
USER 65532:65532
ENTRYPOINT ["clusterpki"]
