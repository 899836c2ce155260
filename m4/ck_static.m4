dnl SPDX-License-Identifier: Apache-2.0
dnl CK_STATIC_LIB(VARIABLE, MODULE, FUNCTION) - VARIABLE_LIBS links MODULE's archive where there is one.
dnl
dnl Two programs of ours start with every program that is launched, and each shared library that they
dnl load is about 80 microseconds of that; --disable-static-libs for who prefers shared ones.
AC_DEFUN([CK_STATIC_LIB], [
	AC_ARG_ENABLE([static-libs], [AS_HELP_STRING([--disable-static-libs],
		[use shared libraries also where there are static ones])], [], [enable_static_libs=yes])
	AS_IF([test "$enable_static_libs" = yes], [
		AC_MSG_CHECKING([for a static library of $2])
		ck_static="-Wl,-Bstatic `$PKG_CONFIG --static --libs $2` -Wl,-Bdynamic"
		ck_saved=$LIBS
		LIBS="$ck_static $LIBS"
		AC_LINK_IFELSE([AC_LANG_CALL([], [$3])],
			[AC_MSG_RESULT([yes]); $1_LIBS=$ck_static], [AC_MSG_RESULT([no])])
		LIBS=$ck_saved
	])
])
