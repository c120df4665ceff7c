# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
. "$(dirname "${BASH_SOURCE[0]}")/../../deploy/lib/postgres.sh"
