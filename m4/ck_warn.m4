dnl SPDX-License-Identifier: Apache-2.0
dnl CK_WARN - WARN_CFLAGS: the warnings that the compiler knows; --enable-werror makes them errors.
AC_DEFUN([CK_WARN], [
	AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [treat warnings as errors])], [],
		[enable_werror=no])
	WARN_CFLAGS=
	for ck_flag in -Wall -Wextra -Wshadow -Wstrict-prototypes -Wold-style-definition \
		-Wpointer-arith -Wvla -Wimplicit-fallthrough \
		-Werror=implicit-function-declaration -Werror=int-conversion \
		-Werror=incompatible-pointer-types; do
		ck_saved=$CFLAGS
		CFLAGS="$CFLAGS -Werror $ck_flag"
		AC_MSG_CHECKING([for $ck_flag])
		AC_COMPILE_IFELSE([AC_LANG_SOURCE([int main(void) { return 0; }])],
			[AC_MSG_RESULT([yes]); WARN_CFLAGS="$WARN_CFLAGS $ck_flag"], [AC_MSG_RESULT([no])])
		CFLAGS=$ck_saved
	done
	AS_IF([test "$enable_werror" = yes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
	AC_SUBST([WARN_CFLAGS])
])
