// Pins whose custom resource definitions the pages about other projects are tried with: they are read from the
// module's folder, and nothing of it is built.
module clusterpki.io/operator/test/docs/crds

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2
