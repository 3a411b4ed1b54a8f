# retried COMMAND...: for what comes from a package registry, which has bad minutes.  To be sourced.
#
# Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
retried() {
	for pause in 5 20 60; do
		"$@" && return
		echo "$(basename "$0"): again in $pause s: $*" >&2
		sleep $pause
	done
	"$@"
}
