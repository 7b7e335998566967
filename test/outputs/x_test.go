package outputs_test

import (
	_ "sigs.k8s.io/cluster-api/util/secret"
	_ "sigs.k8s.io/cluster-api/util/kubeconfig"
	_ "clusterpki.io/operator/test/testenv"
	_ "clusterpki.io/operator/test/given"
)
