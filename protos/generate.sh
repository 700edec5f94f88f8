#!/bin/sh
# Generates the Python code of every .proto here; `generate.sh lint` checks style and compatibility instead.
# Run it in an environment that holds the `dev` dependencies: the generated code demands the pinned grpcio-tools.
set -eu
cd "$(dirname "$0")"

site=$(python -c 'import google.rpc, pathlib; print(pathlib.Path(list(google.rpc.__path__)[0]).parents[1])')
protos=$(find plaudit_protos -name '*.proto' | sort)

compile() { # shellcheck disable=SC2086  # one word per file
    python -m grpc_tools.protoc -I . -I "$site" "$@" $protos
}

case "${1:-generate}" in
generate)
    compile --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:.
    ;;
lint)
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # One file with the imports in it, so that buf need not ask its registry for them.
    compile --include_imports --include_source_info --descriptor_set_out="$folder/now.binpb"
    buf lint "$folder/now.binpb" --config ../buf.yaml --path plaudit_protos
    buf breaking "$folder/now.binpb" --against baseline.binpb --config ../buf.yaml --path plaudit_protos
    ;;
baseline) # at a release: what later changes must stay compatible with
    compile --include_imports --descriptor_set_out=baseline.binpb
    ;;
*)
    echo "usage: generate.sh [generate | lint | baseline]" >&2
    exit 2
    ;;
esac
