dnl SPDX-License-Identifier: Apache-2.0
dnl CK_CMOCKA - the unit tests' framework; without it `make check` leaves the unit tests out.
AC_DEFUN([CK_CMOCKA], [
	PKG_CHECK_MODULES([CMOCKA], [cmocka], [ck_cmocka=yes],
		[ck_cmocka=no; AC_MSG_WARN([cmocka is missing: make check runs no unit tests])])
	AM_CONDITIONAL([HAVE_CMOCKA], [test "$ck_cmocka" = yes])
])
