/* SPDX-License-Identifier: Apache-2.0 */
#include "scn.h"

const char *scn_doc = "a thread that changes ids all the time, for which libc sends its own signal to all others: whatever has "
		      "come to whom when they are stopped, it goes on";

#define THREADS 3

static volatile int stop;
static volatile unsigned long done;

static void *others(void *arg)
{
	while (!stop)
		;
	return arg;
}

static void *change(void *arg)
{
	while (!stop) {
		scn_check(setuid(getuid()) == 0, "%s", strerror(errno));
		done++;
	}
	return arg;
}

int main(void)
{
	pthread_t t[THREADS];
	unsigned long before;

	t[0] = scn_thread(change, NULL);
	for (int i = 1; i < THREADS; i++)
		t[i] = scn_thread(others, NULL);
	while (done < 100)
		scn_sleep_ms(1);

	scn_checkpoint();

	/* If it does not, the test's limit is over. */
	before = done;
	while (done < before + 100)
		scn_sleep_ms(1);
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	scn_pass();
}
