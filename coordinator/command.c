/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - main() of ckpt_command: from the words on the command line to one action. */

#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../common/codec.h"
#include "../common/io.h"
#include "../common/log.h"
#include "../common/paths.h"
#include "../common/units.h"
#include "../preload/ckpt.h"
#include "store.h"

enum {
	OPT_CHECKPOINT = 256, OPT_WAIT, OPT_LS, OPT_RM, OPT_STATUS, OPT_INTERVAL, OPT_KILL,
	OPT_ID, OPT_IMAGE_PATH, OPT_LEAVE_RUNNING, OPT_TIMEOUT, OPT_COMPRESSION, OPT_CHECKPOINT_DIR,
	OPT_TCP, OPT_SAVE_FILES, OPT_FORCE, OPT_JSON, OPT_HELP, OPT_VERSION,
};

static const struct option options[] = {
	{ "checkpoint",		no_argument,	   NULL, OPT_CHECKPOINT },
	{ "wait",		no_argument,	   NULL, OPT_WAIT },
	{ "ls",			no_argument,	   NULL, OPT_LS },
	{ "list",		no_argument,	   NULL, OPT_LS },
	{ "rm",			no_argument,	   NULL, OPT_RM },
	{ "status",		no_argument,	   NULL, OPT_STATUS },
	{ "interval",		required_argument, NULL, OPT_INTERVAL },
	{ "kill",		no_argument,	   NULL, OPT_KILL },
	{ "id",			required_argument, NULL, OPT_ID },
	{ "image-path",		required_argument, NULL, OPT_IMAGE_PATH },
	{ "leave-running",	optional_argument, NULL, OPT_LEAVE_RUNNING },
	{ "timeout",		required_argument, NULL, OPT_TIMEOUT },
	{ "compression",	required_argument, NULL, OPT_COMPRESSION },
	{ "compress",		required_argument, NULL, OPT_COMPRESSION },
	{ "tcp",		required_argument, NULL, OPT_TCP },
	{ "save-files",		required_argument, NULL, OPT_SAVE_FILES },
	{ "checkpoint-dir",	required_argument, NULL, OPT_CHECKPOINT_DIR },
	{ "force",		no_argument,	   NULL, OPT_FORCE },
	{ "json",		no_argument,	   NULL, OPT_JSON },
	{ "verbose",		no_argument,	   NULL, 'v' },
	{ "quiet",		no_argument,	   NULL, 'q' },
	{ "help",		no_argument,	   NULL, OPT_HELP },
	{ "version",		no_argument,	   NULL, OPT_VERSION },
	{ 0 },
};

static const char help[] =
	"Usage: ckpt_command ACTION [OPTION]... [JOB]\n"
	"JOB may be left out where exactly one of your jobs is running.\n"
	"\n"
	"Actions:\n"
	"  -c, --checkpoint        checkpoint the job; print the directory when it is durable\n"
	"      --leave-running[=true|false]  the job's processes go on afterwards\n"
	"      --id=ID             name of the checkpoint; default is a number that grows\n"
	"      --checkpoint-dir=DIR  write to DIR/ID\n"
	"      --image-path=DIR    write to exactly DIR\n"
	"      --timeout=TIME      give up after TIME; the job runs on\n"
	"      --compression=CODEC none, zlib, lz4 or zstd, with :LEVEL\n"
	"      --tcp=reset|close|keep|fail  connections to others: after a restart the program finds\n"
	"                          them reset or closed, or they go on; or do not checkpoint while there are any\n"
	"      --save-files=none|open|written  store data files, too, and put them back at a restart:\n"
	"                          all that are open, or those open for writing\n"
	"      --wait              wait until the pending checkpoint is durable\n"
	"  -l, --ls                list stored checkpoints [of JOB] [in --checkpoint-dir=DIR]\n"
	"      --rm JOB/ID...      remove stored checkpoints; --force: whatever they are\n"
	"  -s, --status            list running jobs\n"
	"  -i, --interval=TIME|off change the period of the job's checkpoints\n"
	"  -k, --kill              end the job's processes\n"
	"\n"
	"As docker has it:\n"
	"  checkpoint create [--leave-running] [--checkpoint-dir=DIR] JOB ID\n"
	"  checkpoint ls [--checkpoint-dir=DIR] JOB\n"
	"  checkpoint rm [--checkpoint-dir=DIR] JOB ID\n"
	"\n"
	"      --json              lists in JSON\n"
	"  -v, --verbose           say more\n"
	"  -q, --quiet             no progress bar, no warnings\n"
	"      --help              show this text\n"
	"      --version           show the version\n"
	"\n"
	"Sizes and times: 512K 10M 1.5G; 90s 10m 2h. Exit status: 0 done, 1 failed (the job runs on),\n"
	"2 wrong use, 3 no such job or checkpoint.\n";

static int wrong_use(const char *what, const char *value)
{
	if (value)
		log_error("%s '%s'; see ckpt_command --help", what, value);
	else
		log_error("%s; see ckpt_command --help", what);
	return EXIT_WRONG_USE;
}

static int parse_bool(const char *s, int *ret)
{
	static const char *const words[2][4] = { { "false", "no", "0", "off" }, { "true", "yes", "1", "on" } };

	for (int value = 0; value < 2; value++)
		for (int i = 0; i < 4; i++)
			if (strcmp(s, words[value][i]) == 0) {
				*ret = value;
				return 0;
			}
	return -1;
}

static int set_action(command_fn **action, command_fn *fn)
{
	if (*action && *action != fn)
		return wrong_use("one action at a time", NULL);
	*action = fn;
	return -1;
}

/* An option's value into @cmd. -1: done; else the exit status. */
static int take_option(int opt, struct command *cmd, command_fn **action)
{
	struct codec codec;
	struct err err;

	switch (opt) {
	case 'c': case OPT_CHECKPOINT: return set_action(action, command_checkpoint);
	case OPT_WAIT: return set_action(action, command_wait);
	case 'l': case OPT_LS: return set_action(action, command_list);
	case OPT_RM: return set_action(action, command_remove);
	case 's': case OPT_STATUS: return set_action(action, command_status);
	case 'k': case OPT_KILL: return set_action(action, command_kill);
	case 'i': case OPT_INTERVAL:
		if (strcmp(optarg, "off") == 0)
			cmd->interval_ns = 0;
		else if (units_parse_time(optarg, &cmd->interval_ns) < 0)
			return wrong_use("--interval wants a time such as 10m, or off, not", optarg);
		return set_action(action, command_interval);
	case OPT_ID:
		if (!store_id_valid(optarg))
			return wrong_use("--id wants letters, digits, '.', '_', '-' (not first), at most 128, not", optarg);
		cmd->id = optarg;
		break;
	case OPT_IMAGE_PATH: cmd->image_path = optarg; break;
	case OPT_CHECKPOINT_DIR: cmd->checkpoint_dir = optarg; break;
	case OPT_LEAVE_RUNNING:
		cmd->leave_running = 1;
		if (optarg && parse_bool(optarg, &cmd->leave_running) < 0)
			return wrong_use("--leave-running is true or false, not", optarg);
		break;
	case OPT_TIMEOUT:
		if (units_parse_time(optarg, &cmd->timeout_ns) < 0)
			return wrong_use("--timeout wants a time such as 30s, not", optarg);
		break;
	case OPT_COMPRESSION:
		if (codec_parse(optarg, &codec, &err) < 0)
			return wrong_use(err.msg, NULL);
		cmd->compression = optarg;
		break;
	case OPT_TCP:
		if (tcp_policy_parse(optarg, &cmd->tcp) < 0)
			return wrong_use("--tcp is reset, close, keep or fail, not", optarg);
		break;
	case OPT_SAVE_FILES:
		if (save_files_parse(optarg, &cmd->save_files) < 0)
			return wrong_use("--save-files is none, open or written, not", optarg);
		break;
	case OPT_FORCE: cmd->force = 1; break;
	case OPT_JSON: cmd->json = 1; break;
	case 'v':
		cmd->verbose = 1;
		log_set_level(LOG_INFO_);
		break;
	case 'q':
		cmd->quiet = 1;
		log_set_level(LOG_ERROR_);
		break;
	case OPT_HELP: return fputs(help, stdout) < 0 ? EXIT_FAILED : EXIT_DONE;
	case OPT_VERSION: return printf("ckpt_command (ckpt) %s\n", PACKAGE_VERSION) < 0 ? EXIT_FAILED : EXIT_DONE;
	default: return EXIT_WRONG_USE;		/* getopt_long() has said what is wrong */
	}
	return -1;
}

/* "checkpoint create JOB ID" and its kin. -1: done; else the exit status. */
static int take_docker_words(struct command *cmd, command_fn **action)
{
	static const struct { const char *word; command_fn *fn; int nargs; } words[] = {
		{ "create", command_checkpoint, 2 }, { "ls", command_list, 1 }, { "list", command_list, 1 },
		{ "rm", command_remove, 2 }, { "remove", command_remove, 2 },
	};
	const char *word = cmd->nargs > 1 ? cmd->args[1] : "";

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(word, words[i].word) != 0)
			continue;
		cmd->docker = 1;
		cmd->args += 2;
		cmd->nargs -= 2;
		*action = words[i].fn;
		if (cmd->nargs != words[i].nargs)
			return wrong_use(words[i].nargs == 2 ? "wanted: checkpoint create|rm JOB ID" :
					 "wanted: checkpoint ls JOB", NULL);
		if (words[i].nargs == 2) {
			cmd->id = cmd->args[1];
			cmd->nargs = 1;
			if (!store_id_valid(cmd->id))
				return wrong_use("not a checkpoint's name:", cmd->id);
		}
		return -1;
	}
	return wrong_use("wanted: checkpoint create|ls|rm, not checkpoint", word);
}

static int check_use(const struct command *cmd, command_fn *action)
{
	if (!action)
		return wrong_use("what is to be done? --checkpoint, --ls, --rm, --status, ...", NULL);
	if (action != command_remove && cmd->nargs > 1)
		return wrong_use("more than one JOB:", cmd->args[1]);
	if ((action != command_remove || cmd->docker) && cmd->nargs && !paths_job_name_valid(cmd->args[0]))
		return wrong_use("not a job's name:", cmd->args[0]);
	if (action == command_remove && !cmd->docker && cmd->nargs == 0)
		return wrong_use("--rm wants JOB/ID", NULL);
	if (cmd->image_path && (cmd->checkpoint_dir || cmd->id))
		return wrong_use("--image-path names the directory in full: no --id, no --checkpoint-dir", NULL);
	return -1;
}

static int exit_status(const struct err *err)
{
	switch (err->code) {
	case E_USAGE: return EXIT_WRONG_USE;
	case E_NO_JOB: case E_NO_CHECKPOINT: return EXIT_NONE_SUCH;
	default: return EXIT_FAILED;
	}
}

/*
 * We were started by the job, saved and restored with it; whom we were talking to is not the coordinator of the
 * restored job. The checkpoint that we have asked for is the one that we came from; anything else is asked again.
 */
static int in_restored_job(command_fn *action, char **argv)
{
	if (action == command_checkpoint)
		return EXIT_DONE;
	execvp(argv[0], argv);
	log_error("cannot ask the restored job's coordinator: %s", strerror(errno));
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct command cmd = { 0 };
	command_fn *action = NULL;
	struct err err = { 0 };
	int opt, status;

	log_init("ckpt_command");
	signal(SIGPIPE, SIG_IGN);	/* a coordinator that ends is an error to be told, not our end */
	while ((opt = getopt_long(argc, argv, "clski:vq", options, NULL)) != -1) {
		status = take_option(opt, &cmd, &action);
		if (status >= 0)
			return status;
	}
	cmd.args = argv + optind;
	cmd.nargs = argc - optind;
	status = !action && cmd.nargs > 0 && strcmp(cmd.args[0], "checkpoint") == 0 ?
		 take_docker_words(&cmd, &action) : -1;
	if (status < 0)
		status = check_use(&cmd, action);
	if (status >= 0)
		return status;
	status = action(&cmd, &err);
	if (status < 0 && ckpt_restores())
		return in_restored_job(action, argv);
	if (status < 0) {
		log_err(&err);
		status = exit_status(&err);
	}
	if (fflush(stdout) != 0 && status == EXIT_DONE) {
		log_error("cannot write to the standard output");
		status = EXIT_FAILED;
	}
	return status;
}
