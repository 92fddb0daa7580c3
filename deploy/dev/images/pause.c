/*
 * The process of a sandbox: holds its namespaces until told to stop, and reaps what other containers of
 * the pod leave behind when the pod shares one PID namespace.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int signal_number) {
    (void)signal_number;
    _exit(0);
}

static void reap(int signal_number) {
    (void)signal_number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

static int handle(int signal_number, void (*handler)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    return sigaction(signal_number, &action, NULL);
}

int main(void) {
    if (handle(SIGTERM, stop) < 0 || handle(SIGINT, stop) < 0 || handle(SIGCHLD, reap) < 0) {
        return 1;
    }
    for (;;) {
        pause();
    }
}
