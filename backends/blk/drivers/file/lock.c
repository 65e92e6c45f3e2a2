/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Open-file-description locks on the whole file: they belong to what open() gave, so that two disks
 * of one process exclude each other too, and they end with the last descriptor however the process
 * ends. The whole range also covers the bytes that other programs lock for the same purpose.
 */
static int try_lock(int fd, int command, struct flock *lock, bool read_only)
{
	*lock = (struct flock){
		.l_type = read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};
	return fcntl(fd, command, lock) ? -errno : 0;
}

/* Is the descriptor /proc/PID/fd/FD the file `st`, with a lock on it? */
static bool holds_lock(int proc, const char *pid, const char *fd, const struct stat *st)
{
	char path[64], line[256];
	struct stat other;
	bool found = false;
	FILE *info;
	int in;

	snprintf(path, sizeof(path), "%.16s/fd/%.16s", pid, fd);
	if (fstatat(proc, path, &other, 0) || other.st_dev != st->st_dev ||
	    other.st_ino != st->st_ino)
		return false;
	snprintf(path, sizeof(path), "%.16s/fdinfo/%.16s", pid, fd);
	in = openat(proc, path, O_RDONLY | O_CLOEXEC);
	info = in < 0 ? NULL : fdopen(in, "re");
	if (!info) {
		if (in >= 0)
			close(in);
		return false;
	}
	while (!found && fgets(line, sizeof(line), info))
		found = strncmp(line, "lock:", 5) == 0;
	fclose(info);
	return found;
}

static bool process_holds_lock(int proc, const char *pid, int own_fd, const struct stat *st)
{
	bool own = strtol(pid, NULL, 10) == getpid(), found = false;
	struct dirent *entry;
	char path[64];
	DIR *dir;
	int fd;

	snprintf(path, sizeof(path), "%.16s/fd", pid);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' &&
			!(own && strtol(entry->d_name, NULL, 10) == own_fd) &&
			holds_lock(proc, pid, entry->d_name, st);
	closedir(dir);
	return found;
}

static void process_name(int proc, const char *pid, char *name, size_t size)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%.16s/comm", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, name, size - 1);
		close(fd);
	}
	name[n > 0 ? n : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

int sr_file_holder(int fd, int *pid, char *name, size_t name_size)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	struct stat st;
	int err = -ESRCH;

	if (!proc)
		return -ESRCH;
	while (!fstat(fd, &st) && (entry = readdir(proc))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' ||
		    !process_holds_lock(dirfd(proc), entry->d_name, fd, &st))
			continue;
		*pid = (int)strtol(entry->d_name, NULL, 10);
		process_name(dirfd(proc), entry->d_name, name, name_size);
		err = 0;
		break;
	}
	closedir(proc);
	return err;
}

static int refuse(const struct sr_blk_open *args, int pid, const char *name)
{
	const char *advice = args->read_only
				 ? "end the other use, or attach both read-only"
				 : "an image has one writer: detach it there first, or use a copy";

	if (pid == getpid())
		return sr_blk_fail(args, -EBUSY,
				   "the image is locked: another disk of this process (pid %d) "
				   "uses it; %s",
				   pid, advice);
	if (pid > 0)
		return sr_blk_fail(args, -EBUSY, "the image is locked by %s (pid %d); %s", name,
				   pid, advice);
	return sr_blk_fail(args, -EBUSY,
			   "the image is locked by a process that can't be seen from here (another "
			   "host or container?); %s",
			   advice);
}

int sr_file_lock(const struct sr_blk_open *args, int fd)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	struct flock lock;
	char name[32] = "";
	int err, pid = -1;

	for (int tries = 0; tries < 40; tries++) {
		err = try_lock(fd, F_OFD_SETLK, &lock, args->read_only);
		if (err != -EAGAIN && err != -EACCES)
			break;
		/* A lock of the classic kind names its owner. */
		if (!try_lock(fd, F_OFD_GETLK, &lock, args->read_only) && lock.l_type != F_UNLCK &&
		    lock.l_pid > 0) {
			pid = lock.l_pid;
			snprintf(name, sizeof(name), "another program");
			return refuse(args, pid, name);
		}
		if (!sr_file_holder(fd, &pid, name, sizeof(name)))
			return refuse(args, pid, name);
		nanosleep(&pause, NULL);
	}
	if (err == -EAGAIN || err == -EACCES)
		return refuse(args, -1, "");
	if (err)
		return sr_blk_fail(args, err,
				   "the image can't be locked: %s; with lock=off nothing guards it "
				   "against a second writer",
				   strerror(-err));
	return 0;
}
