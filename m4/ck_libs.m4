dnl SPDX-License-Identifier: Apache-2.0
dnl CK_LIBS - the libraries of our own programs. libckpt.so and the stub use none.
AC_DEFUN([CK_LIBS], [
	PKG_PROG_PKG_CONFIG([0.25])
	AS_IF([test -z "$PKG_CONFIG"], [AC_MSG_ERROR([pkg-config is missing])])
	PKG_CHECK_MODULES([JANSSON], [jansson >= 2.10])
	PKG_CHECK_MODULES([LIBELF], [libelf])
	PKG_CHECK_MODULES([LIBUNWIND], [libunwind-generic])
	PKG_CHECK_MODULES([ZLIB], [zlib])
	PKG_CHECK_MODULES([LZ4], [liblz4])
	PKG_CHECK_MODULES([ZSTD], [libzstd])
	PKG_CHECK_MODULES([XXHASH], [libxxhash >= 0.8.0])
	CK_STATIC_LIB([JANSSON], [jansson], [json_object])
	CK_STATIC_LIB([LIBELF], [libelf], [elf_begin])
	CK_STATIC_LIB([ZLIB], [zlib], [deflate])
	CK_STATIC_LIB([LZ4], [liblz4], [LZ4_compress_default])
	CK_STATIC_LIB([ZSTD], [libzstd], [ZSTD_compress])
])
