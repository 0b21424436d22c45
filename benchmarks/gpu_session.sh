#!/bin/sh
# A short session on a lent GPU, as docs/kernels.md describes it: gpu_session.sh prepare, gpu_session.sh 1, gpu_session.sh 2
exec "${PYTHON:-python3}" "$(dirname "$(readlink -f "$0")")/gpu_session.py" "$@"
