#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image_format.sh - every field of every record stands in doc/image-format.md as records.def has it.
set -eu
: "${srcdir:=.}"
exec "$srcdir/doc/image-records.sh" --check
