dnl SPDX-License-Identifier: Apache-2.0
dnl CK_SANITIZE - --enable-sanitize: address and undefined behaviour sanitizers in our own programs and
dnl the unit tests. Never in libckpt.so and the stub, which must not depend on a runtime.
AC_DEFUN([CK_SANITIZE], [
	AC_ARG_ENABLE([sanitize], [AS_HELP_STRING([--enable-sanitize],
		[build programs and tests with -fsanitize=address,undefined])], [], [enable_sanitize=no])
	SANITIZE_CFLAGS=
	AS_IF([test "$enable_sanitize" = yes],
		[SANITIZE_CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"])
	AC_SUBST([SANITIZE_CFLAGS])
])
