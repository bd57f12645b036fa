// every_call.c: a program that makes every system call a recording may hold. The recordings beside
// it were made with it (see README.md); the tests compare them with what it does.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPage = 4096, kMseal = 462 };

extern char** environ;

static void wait_for(pid_t child) { waitpid(child, 0, 0); }

static void memory_calls(void) {
  char* p = mmap(0, 8 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  p[0] = 1;
  mlock(p, 2 * kPage);
  syscall(SYS_mlock2, p + 2 * kPage, kPage, 1);
  munlock(p, kPage);
  mlockall(MCL_CURRENT | MCL_ONFAULT);
  munlockall();
  mprotect(p + kPage, kPage, PROT_READ);
  mprotect(p, 4 * kPage, PROT_NONE);
  madvise(p, kPage, MADV_DONTNEED);
  madvise(p + kPage, kPage, 12345);
  mmap(p, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  syscall(SYS_pkey_mprotect, p + 4 * kPage, kPage, PROT_READ, -1);
  syscall(kMseal, p + 7 * kPage, kPage, 0UL);
  munmap(p + 7 * kPage, kPage);
  p = mremap(p + 5 * kPage, kPage, 3 * kPage, MREMAP_MAYMOVE);
  mremap(p, 3 * kPage, kPage, 0);
  munmap(p, kPage);
}

static void children(void) {
  pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) _exit(3);
  wait_for(child);
  child = vfork();
  if (child == 0) _exit(0);
  wait_for(child);
  child = vfork();
  if (child == 0) {
    execl("/bin/false", "false", (char*)0);
    _exit(1);
  }
  wait_for(child);
  child = fork();
  if (child == 0) *(volatile char*)0 = 1;
  wait_for(child);
  char* args[] = {"true", 0};
  posix_spawn(&child, "/bin/true", 0, 0, args, environ);
  wait_for(child);
}

static void* return_at_once(void* unused) { return unused; }

static void* become_true(void* unused) {
  execl("/bin/true", "true", (char*)0);
  return unused;
}

int main(void) {
  prctl(PR_SET_NAME, "a b: 1/2 3.4: x");
  memory_calls();
  volatile char deep[300000];
  deep[0] = 1;
  children();
  pthread_t thread;
  pthread_create(&thread, 0, return_at_once, 0);
  pthread_join(thread, 0);
  pthread_create(&thread, 0, become_true, 0);
  pause();
}
