dnl SPDX-License-Identifier: Apache-2.0
dnl CK_ARCH - the processors that park_*.S, entry_*.S and the signal frame code know.
AC_DEFUN([CK_ARCH], [
	AC_MSG_CHECKING([whether the compiler makes code for a supported processor])
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#if !defined(__linux__) || !defined(__x86_64__) || defined(__ILP32__)
#error unsupported
#endif
	]])], [AC_MSG_RESULT([yes])], [
		AC_MSG_RESULT([no])
		AC_MSG_ERROR([ckpt is for Linux on x86-64 (64 bit)])
	])
])
