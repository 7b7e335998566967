# clusterpki needs Go, git and make; its tests need the programs openssl and certtool too. Everything else is built from the
# Go module proxy into bin/: the tools from hack/tools, Kubernetes' own programs from hack/kubernetes.
SHELL = bash
.SHELLFLAGS = -o errexit -o nounset -o pipefail -c
.DEFAULT_GOAL = help

# IMG is the image that deploy and build-installer put into the Deployment.
IMG ?= clusterpki:latest
# INSTALLER is the file that build-installer writes.
INSTALLER ?= dist/install.yaml
# FUZZTIME is how long each fuzz target runs.
FUZZTIME ?= 10s
# RACE is the race detector, where there is the C compiler that it needs; `make test RACE=` goes without. It is for RACED, the
# packages that start goroutines or lock; of others it would show nothing, and it makes all slower.
RACE ?= $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v $$(go env CC) >/dev/null && echo -race)

RACED = $(shell hack/raced.sh)
# TIMES is a file to note in what each test program took: see hack/timed.sh.
TIMED = $(if $(TIMES),-exec $(CURDIR)/hack/timed.sh)
# P is how many packages are tested at a time; by default as many as there are cores.
P ?= $(shell nproc)

TOOLS = bin/tools
KUBERNETES = hack/kubernetes/build.sh
# SUITES are the tests with heavy dependencies of their own, each a module.
SUITES = test/crd test/health test/chart test/monitoring test/verifiers test/outputs
MODULES = . $(SUITES) test/gitops test/docs/crds hack/tools hack/kubernetes hack/kubernetes/etcd
# UNIT are the packages that know neither files nor processes nor clusters.
UNIT = ./internal/pki/... ./internal/ack/... ./internal/authority/... ./internal/consumers/... ./internal/owned/... ./internal/kubeconfig/... ./internal/timeline/... ./internal/status/... ./internal/rotate/... ./internal/limits/... ./internal/policy/... ./internal/delivery/... ./internal/records/... ./internal/refusal/... ./api/...
# GENERATED is what `make verify` regenerates and compares.
GENERATED = api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/schemas config/rbac/role.yaml docs/api.md docs/cli.md docs/clusterpki.md docs/clusterca.md docs/apiservercertificate.md docs/nodecredential.md docs/serviceaccountkey.md charts/clusterpki/files

say = @printf '\033[1m== %s\033[0m\n'

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
	  /^##@ / { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: build bin/demo ## Issue a cluster's PKI and start that cluster on this machine; KEEP=1 leaves it up.
	$(say) "Kubernetes' programs (built once; about 8 minutes from nothing on 2 cores)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager kube-scheduler hollow-node) && \
	  exec bin/demo --binaries "$$assets" $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: demo-rotate
demo-rotate: build bin/demo ## Rotate the root CA of that cluster under load (about 20 minutes); NAIVE=1 does it at once.
	$(say) "Kubernetes' programs (built once; about 8 minutes from nothing on 2 cores)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager kube-scheduler hollow-node) && \
	  exec bin/demo rotate --binaries "$$assets" $(if $(filter-out 0,$(NAIVE)),--naive)

.PHONY: demo-masters
demo-masters: build bin/demo ## Rotate everything of three masters behind a load balancer, under load (about 50 minutes); EDITS=1 edits them only, HOSTS=1 lets nodes come and go.
	$(say) "Kubernetes' programs (built once; about 8 minutes from nothing on 2 cores)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager kube-scheduler hollow-node) && \
	  exec bin/demo masters --binaries "$$assets" $(if $(filter-out 0,$(EDITS)),--edits) $(if $(filter-out 0,$(HOSTS)),--hosts)

.PHONY: demo-seed
demo-seed: build bin/demo ## Start a cluster whose hosts have one identity each, as of a PKI made by hand (about a minute).
	$(say) "Kubernetes' programs (built once; about 8 minutes from nothing on 2 cores)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager kube-scheduler hollow-node) && \
	  exec bin/demo seed --binaries "$$assets"

##@ Test

.PHONY: test
test: programs ## Run every test but those of test-browser and test-gitops, with what they need built first. Set KUBEBUILDER_ASSETS to use your own etcd and kube-apiserver.
	@$(MAKE) --no-print-directory test-suites test-others test-raced test-model

.PHONY: programs
programs: verifiers
	$(say) "etcd, kube-apiserver and kubectl (built once; about 6 minutes from nothing on 2 cores)"
	@$(KUBERNETES) etcd kube-apiserver kubectl

.PHONY: test-suites
test-suites:
	$(say) "the suites with modules of their own: $(SUITES)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && for suite in $(SUITES); do \
	  printf '== %s\n' "$$suite"; \
	  (cd $$suite && KUBEBUILDER_ASSETS=$$assets go test $(TIMED) -vet=off -count=1 -p=$(P) -timeout=20m ./...); \
	done # lint vets; without the cache, which would not see a change of files outside the module

.PHONY: test-model
test-model:
	$(say) "the model of a CA's rotation, in 100,000 random orders of events"
	@go test $(TIMED) ./internal/pki/plan -run=TestModel -rapid.checks=100000

.PHONY: test-raced
test-raced:
	$(say) "the packages that start goroutines$(if $(RACE), and the race detector)"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && KUBEBUILDER_ASSETS=$$assets \
	  go test $(RACE) $(TIMED) -shuffle=on -p=$(P) -timeout=40m $(RACED)

.PHONY: test-others
test-others:
	$(say) "all other packages"
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && \
	  others=$$(comm -23 <(go list ./... | sort) <(go list $(RACED) | sort)) && KUBEBUILDER_ASSETS=$$assets \
	  go test $(TIMED) -shuffle=on -p=$(P) -timeout=40m $$others

.PHONY: test-gitops
test-gitops: build ## Let a real Argo CD and a real Flux install and uninstall (both are built once, which takes long; needs redis-server).
	@hack/redis.sh
	$(say) "Argo CD, Flux, and Kubernetes' programs (built once)"
	@argocd=$$(hack/argocd/build.sh) && flux=$$(hack/flux/build.sh) && assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager) && \
	  (cd test/gitops && go test -c -o ../../bin/gitops.test .) && cd test/gitops && \
	  ARGOCD=$$argocd FLUX=$$flux KUBEBUILDER_ASSETS=$$assets ../../hack/loopback.sh ../../bin/gitops.test -test.v -test.timeout=30m

.PHONY: test-unit
test-unit: verifiers ## Run the tests of the pure packages: seconds, no API server.
	go test $(UNIT)

.PHONY: test-env
test-env: verifiers ## Run the tests on a real API server.
	assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && export KUBEBUILDER_ASSETS=$$assets && \
	  go test $(RACE) -shuffle=on -timeout=40m ./internal/controller/... ./internal/cli/... && go test -shuffle=on -timeout=40m ./test/...

.PHONY: test-docs
test-docs: verifiers ## Run each command and apply each manifest of the documentation.
	assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && KUBEBUILDER_ASSETS=$$assets go test -count=1 -timeout=20m ./test/docs

.PHONY: test-browser
test-browser: ## Look at the dashboard in headless Chromium (about 2 minutes; needs Node.js 20); SCREENSHOTS=1 takes the docs' pictures anew.
	@hack/chromium.sh $(if $(filter-out 0,$(SCREENSHOTS)),pngquant)
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && \
	  KUBEBUILDER_ASSETS=$$assets SCREENSHOTS=$(if $(filter-out 0,$(SCREENSHOTS)),$(CURDIR)/docs/images) go run ./test/browser
	@$(if $(filter-out 0,$(SCREENSHOTS)),pngquant --force --skip-if-larger --ext .png --quality 70-95 docs/images/dashboard-*.png)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s); each that fails fails it.
	@grep -rno --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' api cmd internal | { failed=0; while IFS=: read -r file _ func; do \
	  printf '== %s in %s\n' "$${func#func }" "$$(dirname "$$file")"; \
	  go test -run='^$$' -fuzz="^$${func#func }$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1s "./$$(dirname "$$file")" </dev/null || failed=1; \
	done; exit $$failed; }

# BENCH selects benchmarks by their names; BENCHFLAGS are those of test/bench, such as `-credentials=500 -rounds=1`.
BENCH ?= .
BENCHFLAGS ?=

.PHONY: bench
bench: ## Run every benchmark, the operator's beside the floor: about 2 hours; BENCH=Issue BENCHFLAGS=-credentials=500: 10 minutes.
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && export KUBEBUILDER_ASSETS=$$assets && \
	  dirs=$$(grep -rl --include='*_test.go' '^func Benchmark' api cmd internal test/e2e | xargs -r -n1 dirname | sort -u | sed 's|^|./|') && \
	  go test -run='^$$' -bench='$(BENCH)' -benchmem -timeout=60m $$dirs && \
	  go test -run='^$$' -bench='$(BENCH)' -benchtime=1x -timeout=5h ./test/bench $(if $(BENCHFLAGS),-args $(BENCHFLAGS))

.PHONY: verifiers
verifiers:
	@hack/verifiers.sh

##@ Develop

.PHONY: generate
generate: $(TOOLS)/controller-gen ## Generate the DeepCopy methods of api/.
	$(TOOLS)/controller-gen object paths=./api/...

.PHONY: manifests
manifests: $(TOOLS)/controller-gen ## Generate the CRDs, the operator's role, and the JSON schemas for editors.
	$(TOOLS)/controller-gen crd paths=./api/... output:crd:artifacts:config=config/crd/bases
	$(TOOLS)/controller-gen rbac:roleName=clusterpki paths=./internal/controller/... output:rbac:dir=config/rbac
	go run ./hack/schemas

.PHONY: docs
docs: $(TOOLS)/crd-ref-docs ## Generate docs/api.md, docs/cli.md and the tables of fields on the pages of the kinds.
	$(TOOLS)/crd-ref-docs --source-path=api/v1alpha1 --config=hack/crd-ref-docs/config.yaml \
	  --templates-dir=hack/crd-ref-docs --renderer=markdown --output-path=docs/api.md --log-level=ERROR
	go run ./hack/gendocs

.PHONY: argocd-cm
argocd-cm: ## Write config/argocd anew: the ConfigMap from the health scripts, and their test data from real objects.
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl) && cd test/health && KUBEBUILDER_ASSETS=$$assets go test -count=1 -run 'TestStates|TestConfigMap' -update .

.PHONY: personas
personas: ## Write the tables of docs/security.md, of who can do what, from what a real API server answers.
	@assets=$$($(KUBERNETES) etcd kube-apiserver kubectl kube-controller-manager) && KUBEBUILDER_ASSETS=$$assets go test -count=1 ./test/admission -run=TestPersonas -update

.PHONY: matrix
matrix: verifiers ## Write the table of docs/verifiers.md, of what OpenSSL, Go and GnuTLS accept.
	cd test/verifiers && go test -count=1 -run=TestMatrix . -update

.PHONY: chart
chart: ## Copy into the Helm chart what it shares with config/.
	hack/chart.sh

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the Go files.
	$(TOOLS)/golangci-lint fmt

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## Lint all modules.
	@for module in . $(SUITES) test/gitops hack/kubernetes; do \
	  printf '== %s\n' "$$module"; \
	  (cd $$module && $(CURDIR)/$(TOOLS)/golangci-lint run ./...); \
	done

.PHONY: verify
verify: verify-generated lint verify-vulnerabilities ## Regenerate, tidy, lint and look for known vulnerabilities; fail on any difference.

.PHONY: verify-generated
verify-generated:
	@hack/verify.sh generated "$(MODULES)" "$(GENERATED)"

.PHONY: verify-vulnerabilities
verify-vulnerabilities: $(TOOLS)/govulncheck
	@hack/verify.sh vulnerabilities

##@ Build and install

.PHONY: build
build: ## Build bin/clusterpki, and bin/clusterpki-agent for hosts.
	$(say) "bin/clusterpki and bin/clusterpki-agent"
	@CGO_ENABLED=0 go build -trimpath -o bin/clusterpki ./cmd
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/clusterpki-agent ./cmd/agent

# The demonstration is no part of the program that is installed. Go knows whether it is up to date.
.PHONY: bin/demo
bin/demo:
	$(say) "bin/demo"
	@CGO_ENABLED=0 go build -trimpath -o bin/demo ./cmd/demo

# BINDIR is the folder in your PATH that install-plugin writes to.
BINDIR ?= $(HOME)/.local/bin

.PHONY: install-plugin
install-plugin: build ## Install `kubectl clusterpki` and its completion into BINDIR (~/.local/bin).
	@install -d "$(BINDIR)"
	@install -m 0755 bin/clusterpki "$(BINDIR)/kubectl-clusterpki"
	@install -m 0755 hack/kubectl/kubectl_complete-clusterpki "$(BINDIR)/kubectl_complete-clusterpki"
	$(say) "kubectl clusterpki is in $(BINDIR)"

.PHONY: docker-build
docker-build: ## Build the image IMG with docker, for this machine's architecture.
	hack/image.sh binaries linux/$$(go env GOARCH)
	docker build --build-arg TARGETPLATFORM=linux/$$(go env GOARCH) -t $(IMG) -f Dockerfile dist/image

.PHONY: image
image: ## Build dist/clusterpki.oci.tar with buildah, for amd64 and arm64, and look into it: no container engine needed.
	hack/image.sh build

.PHONY: build-installer
build-installer: ## Write dist/install.yaml, to install with kubectl apply -f.
	@mkdir -p $(dir $(INSTALLER))
	@$$($(KUBERNETES) kubectl)/kubectl kustomize config/default | sed 's|image: clusterpki:latest$$|image: $(IMG)|' > $(INSTALLER)
	$(say) "$(INSTALLER) runs $(IMG)"

.PHONY: release-check
release-check: $(TOOLS)/goreleaser ## Check .goreleaser.yaml, by GoReleaser itself.
	$(TOOLS)/goreleaser check

.PHONY: install
install: ## Install the CRDs in the cluster of your kubeconfig.
	kubectl apply -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them every ClusterCA, ServiceAccountKey, APIServerCertificate and NodeCredential!
	kubectl delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Install the whole operator, running IMG, in the cluster of your kubeconfig.
	kubectl kustomize config/default | sed 's|image: clusterpki:latest$$|image: $(IMG)|' | kubectl apply -f -

.PHONY: clean
clean: ## Remove what was built, except for Kubernetes' programs in bin/kubernetes.
	rm -rf bin/clusterpki bin/demo bin/tools dist

# The tools, at the versions in hack/tools/go.mod. Built rather than run with `go tool`: that would link
# golangci-lint anew each time.
tool = @printf '== %s (built once%s)\n' "$@" "$2"; cd hack/tools && go build -o ../../$@ $1
TOOLS_MODULE = hack/tools/go.mod

$(TOOLS)/controller-gen: $(TOOLS_MODULE)
	$(call tool,sigs.k8s.io/controller-tools/cmd/controller-gen)

$(TOOLS)/crd-ref-docs: $(TOOLS_MODULE)
	$(call tool,github.com/elastic/crd-ref-docs)

$(TOOLS)/govulncheck: $(TOOLS_MODULE)
	$(call tool,golang.org/x/vuln/cmd/govulncheck)

# Without the discovery of targets in clouds, which makes up most of it.
$(TOOLS)/promtool: test/monitoring/go.mod
	@printf '== %s (built once)\n' "$@"; cd test/monitoring && go build -tags remove_all_sd -o ../../$@ github.com/prometheus/prometheus/cmd/promtool

$(TOOLS)/golangci-lint: $(TOOLS_MODULE)
	$(call tool,sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter,; about 3 minutes from nothing)

$(TOOLS)/goreleaser: hack/release/go.mod
	@printf '== %s (built once; many minutes from nothing)\n' "$@"; cd hack/release && go build -o ../../$@ github.com/goreleaser/goreleaser/v2
