// SPDX-License-Identifier: Apache-2.0
//
// The workload of a test guest, and its first and only process. It brings up eth0, sends pings and
// probes, counts, and reports.
//
// The kernel's command line configures it:
//   godwit.ip=10.0.0.7/24          The address of eth0. The kernel answers pings to it.
//   godwit.mtu=1500
//   godwit.ping=10.0.0.1,10.0.0.2  The addresses to ping.
//   godwit.rate=100                Pings a second to each.
//   godwit.forbidden=LIST          Probes that must not arrive (see probes.h), from the start.
//   godwit.permitted=LIST          Probes that must arrive.
//   godwit.probe_rate=50           Probes a second, of each.
//   godwit.permitted_rate=50       Permitted probes a second, of each, if their rate differs.
//   godwit.report_ms=1000          The interval of reports.
//
// The agent answers each command on the serial console with a report that has the command's `id`:
//   report ID | zero ID | gaps ID | stop ID | start ID | sh ID COMMAND...
// `zero` resets all counts. `gaps` reports the longest gaps and then resets them. `stop` and
// `start` control pings and probes. `sh` runs a busybox command and answers
// {"id":..,"sh":{"status":..,"output":..}} when the command has ended. The agent does not run a
// command again that is repeated with the same id; it repeats the answer.
#define _GNU_SOURCE
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "pinger.h"
#include "probes.h"

static const char kInterface[] = "eth0";
static const uint64_t kNanosecondsPerSecond = 1000000000;

enum {
  kShellOutputSize = 4096,
  kCommandIdSize = 32,
  // At higher rates, several permitted probes leave at a time. In an emulated guest a tick costs
  // more than a packet.
  kPermittedTicks = 250,
};
// The agent skips permitted probes that are later than this. A longer burst would not measure the
// network.
static const uint64_t kCatchUpNs = 100000000;

// A `sh` command that runs.
struct shell {
  pid_t process;  // Zero if no command runs.
  int output;
  char id[kCommandIdSize];
  char text[kShellOutputSize];
  size_t size;
};

struct agent {
  char command_line[4096];
  struct in_addr address;
  unsigned prefix_length;
  unsigned mtu;
  unsigned ping_rate;
  unsigned probe_rate;
  unsigned permitted_rate;
  unsigned tick_rate;  // The highest rate.
  uint64_t next_permitted_ns;
  uint64_t report_ns;
  uint64_t ticks;
  uint64_t ticks_missed;
  char last_id[kCommandIdSize];
  struct line last_answer;
  struct pinger pinger;
  struct prober prober;
  struct console console;
  struct shell shell;
};

uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * kNanosecondsPerSecond + (uint64_t)now.tv_nsec;
}

uint32_t checksum_add(uint32_t sum, const void* data, size_t size) {
  const uint8_t* at = data;
  for (; size > 1; at += 2, size -= 2) {
    uint16_t word;
    memcpy(&word, at, sizeof word);
    sum += word;
  }
  if (size == 1) sum += htons((uint16_t)(*at << 8));
  return sum;
}

uint16_t internet_checksum(uint32_t sum, const void* data, size_t size) {
  sum = checksum_add(sum, data, size);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

static void fatal(const char* what) {
  fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
  // The first process of the guest must not end. The host sees this line, and no more reports.
  for (;;) pause();
}

// Returns the value of NAME=... on the kernel's command line, or NULL. It is valid until the next
// call.
static const char* option(const struct agent* agent, const char* name) {
  static char value[sizeof agent->command_line];
  const size_t name_size = strlen(name);
  for (const char* at = agent->command_line; *at != '\0';) {
    at += strspn(at, " \n");
    const size_t size = strcspn(at, " \n");
    if (size > name_size && strncmp(at, name, name_size) == 0 && at[name_size] == '=') {
      memcpy(value, at + name_size + 1, size - name_size - 1);
      value[size - name_size - 1] = '\0';
      return value;
    }
    at += size;
  }
  return NULL;
}

static unsigned number_option(const struct agent* agent, const char* name, unsigned fallback) {
  const char* text = option(agent, name);
  return text == NULL ? fallback : (unsigned)strtoul(text, NULL, 10);
}

static void read_options(struct agent* agent) {
  const int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, agent->command_line, sizeof agent->command_line - 1) < 0)
    fatal("/proc/cmdline");
  close(file);
  agent->mtu = number_option(agent, "godwit.mtu", 1500);
  agent->ping_rate = number_option(agent, "godwit.rate", 100);
  agent->probe_rate = number_option(agent, "godwit.probe_rate", 50);
  agent->permitted_rate = number_option(agent, "godwit.permitted_rate", agent->probe_rate);
  agent->report_ns = (uint64_t)number_option(agent, "godwit.report_ms", 1000) * 1000000;
  errno = EINVAL;
  if (agent->ping_rate == 0 || agent->ping_rate > 10000) fatal("godwit.rate");
  if (agent->probe_rate > 10000 || agent->permitted_rate > 10000) fatal("godwit.probe_rate");
  agent->tick_rate = agent->ping_rate;
  if (agent->probe_rate > agent->tick_rate) agent->tick_rate = agent->probe_rate;
  const unsigned permitted_ticks =
      agent->permitted_rate < kPermittedTicks ? agent->permitted_rate : kPermittedTicks;
  if (permitted_ticks > agent->tick_rate) agent->tick_rate = permitted_ticks;
  const char* text = option(agent, "godwit.ip");
  if (text != NULL) {
    char address[INET_ADDRSTRLEN] = "";
    if (sscanf(text, "%15[0-9.]/%u", address, &agent->prefix_length) != 2 ||
        agent->prefix_length > 32 || inet_pton(AF_INET, address, &agent->address) != 1)
      fatal("godwit.ip");
  }
  text = option(agent, "godwit.ping");
  if (text == NULL) return;
  char* copy = strdup(text);
  char* rest = copy;
  for (char* one; (one = strsep(&rest, ",")) != NULL;) {
    struct pinger* pinger = &agent->pinger;
    if (pinger->targets_count == kPingTargetsMax ||
        inet_pton(AF_INET, one, &pinger->targets[pinger->targets_count++].address) != 1)
      fatal("godwit.ping");
  }
  free(copy);
}

static void set_address(int control, unsigned long request, struct in_addr address) {
  struct ifreq wish = {0};
  memcpy(wish.ifr_name, kInterface, sizeof kInterface);
  struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};
  memcpy(&wish.ifr_addr, &value, sizeof value);
  if (ioctl(control, request, &wish) != 0) fatal("eth0's address");
}

// Waits for eth0, sets its MTU and address, brings it up, and passes its MAC to the prober.
static void bring_up_interface(struct agent* agent) {
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (control < 0) fatal("socket");
  for (int tries = 0; if_nametoindex(kInterface) == 0; ++tries) {
    if (tries == 1000) fatal("no eth0");
    usleep(10000);
  }
  struct ifreq wish = {0};
  memcpy(wish.ifr_name, kInterface, sizeof kInterface);
  wish.ifr_mtu = (int)agent->mtu;
  if (ioctl(control, SIOCSIFMTU, &wish) != 0) fatal("eth0's MTU");
  if (ioctl(control, SIOCGIFHWADDR, &wish) != 0) fatal("eth0's MAC");
  memcpy(agent->prober.own_mac, wish.ifr_hwaddr.sa_data, sizeof agent->prober.own_mac);
  if (agent->address.s_addr != 0) {
    const uint32_t mask = agent->prefix_length == 0 ? 0 : ~0U << (32 - agent->prefix_length);
    set_address(control, SIOCSIFADDR, agent->address);
    set_address(control, SIOCSIFNETMASK, (struct in_addr){.s_addr = htonl(mask)});
  }
  if (ioctl(control, SIOCGIFFLAGS, &wish) != 0) fatal("eth0's flags");
  wish.ifr_flags |= IFF_UP | IFF_RUNNING;
  if (ioctl(control, SIOCSIFFLAGS, &wish) != 0) fatal("eth0 does not come up");
  close(control);
}

static void open_probes(struct agent* agent) {
  struct prober* prober = &agent->prober;
  prober->own_ip = agent->address;
  errno = EINVAL;
  const char* text = option(agent, "godwit.forbidden");
  if (text != NULL && !prober_add(prober, text, false)) fatal("godwit.forbidden");
  text = option(agent, "godwit.permitted");
  if (text != NULL && !prober_add(prober, text, true)) fatal("godwit.permitted");
  if (!prober_open(prober, kInterface)) fatal("packet socket on eth0");
  prober->running = true;
}

static double milliseconds(uint64_t ns) { return (double)ns / 1e6; }

static void add_targets(struct line* line, const struct pinger* pinger, uint64_t now_ns) {
  line_add(line, "\"targets\":[");
  for (unsigned i = 0; i < pinger->targets_count; ++i) {
    const struct ping_target* target = &pinger->targets[i];
    const uint64_t open_gap_ns =
        target->last_receive_ns == 0 ? 0 : now_ns - target->last_receive_ns;
    line_add(
        line,
        "%s{\"ip\":\"%s\",\"sent\":%llu,\"received\":%llu,\"duplicated\":%llu,\"reordered\":%llu,",
        i == 0 ? "" : ",", inet_ntoa(target->address), (unsigned long long)target->next_sequence,
        (unsigned long long)target->received, (unsigned long long)target->duplicated,
        (unsigned long long)target->reordered);
    line_add(line,
             "\"send_failed\":%llu,\"gap_ms\":%.3f,\"gap_sequence\":%llu,\"open_gap_ms\":%.3f,",
             (unsigned long long)target->send_failed, milliseconds(target->longest_gap_ns),
             (unsigned long long)target->longest_gap_sequence, milliseconds(open_gap_ns));
    line_add(line, "\"jump\":%llu,\"round_trip_ms\":%.3f}",
             (unsigned long long)target->longest_jump, milliseconds(target->longest_round_trip_ns));
  }
  line_add(line, "]");
}

static void add_probes(struct line* line, const struct prober* prober) {
  line_add(line, "\"probes\":[");
  for (unsigned i = 0; i < prober->probes_count; ++i) {
    const struct probe* probe = &prober->probes[i];
    line_add(line, "%s{\"kind\":%u,\"permitted\":%s,\"sent\":%llu,\"send_failed\":%llu}",
             i == 0 ? "" : ",", i, probe->permitted ? "true" : "false",
             (unsigned long long)probe->sent, (unsigned long long)probe->send_failed);
  }
  line_add(line, "],\"heard\":[");
  for (unsigned i = 0; i < prober->heard_count; ++i) {
    const struct heard* heard = &prober->heard[i];
    line_add(line,
             "%s{\"from\":\"%s\",\"kind\":%u,\"permitted\":%s,\"received\":%llu,\"duplicated\":%"
             "llu,\"reordered\":%llu}",
             i == 0 ? "" : ",", inet_ntoa(heard->sender), heard->kind,
             heard->permitted ? "true" : "false", (unsigned long long)heard->received,
             (unsigned long long)heard->duplicated, (unsigned long long)heard->reordered);
  }
  line_add(line, "],\"heard_overflow\":%llu", (unsigned long long)prober->heard_overflow);
}

// Reports the counts. `id` is the command's, or NULL for a periodic report.
static void report(struct agent* agent, const char* id) {
  static struct line line;
  const uint64_t now_ns = monotonic_ns();
  line_clear(&line);
  line_add(&line, "{\"id\":");
  if (id == NULL) {
    line_add(&line, "null");
  } else {
    line_add_string(&line, id, strlen(id));
  }
  line_add(&line,
           ",\"time_ms\":%.3f,\"run\":%u,\"ticks\":%llu,\"ticks_missed\":%llu,\"stall_ms\":%.3f,",
           milliseconds(now_ns), agent->pinger.run, (unsigned long long)agent->ticks,
           (unsigned long long)agent->ticks_missed, milliseconds(agent->pinger.longest_stall_ns));
  add_targets(&line, &agent->pinger, now_ns);
  line_add(&line, ",");
  add_probes(&line, &agent->prober);
  line_add(&line, "}");
  console_send(&agent->console, &line);
  if (id != NULL) agent->last_answer = line;
}

static void start_shell(struct agent* agent, const char* id, const char* text) {
  struct shell* shell = &agent->shell;
  int ends[2];
  if (shell->process != 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  const pid_t process = fork();
  if (process == 0) {
    setsid();
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) & ~O_NONBLOCK);
    execl("/bin/busybox", "sh", "-c", text, (char*)NULL);
    _exit(127);
  }
  close(ends[1]);
  if (process < 0) {
    close(ends[0]);
    return;
  }
  shell->process = process;
  shell->output = ends[0];
  shell->size = 0;
  snprintf(shell->id, sizeof shell->id, "%s", id);
}

// Reads the output of a `sh` command and answers when the command has closed it.
static void receive_shell(struct agent* agent) {
  struct shell* shell = &agent->shell;
  for (;;) {
    char text[1024];
    const ssize_t got = read(shell->output, text, sizeof text);
    if (got < 0) return;
    if (got == 0) break;
    const size_t room = sizeof shell->text - shell->size;
    const size_t taken = (size_t)got < room ? (size_t)got : room;
    memcpy(shell->text + shell->size, text, taken);
    shell->size += taken;
  }
  int status = 0;
  waitpid(shell->process, &status, 0);
  close(shell->output);
  shell->process = 0;
  struct line* line = &agent->last_answer;
  line_clear(line);
  line_add(line, "{\"id\":");
  line_add_string(line, shell->id, strlen(shell->id));
  line_add(line,
           ",\"sh\":{\"status\":%d,\"output\":", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  line_add_string(line, shell->text, shell->size);
  line_add(line, "}}");
  console_send(&agent->console, line);
}

static void on_command(void* context, char* text) {
  struct agent* agent = context;
  char* rest = text;
  const char* verb = strsep(&rest, " ");
  const char* id = strsep(&rest, " ");
  if (id == NULL) return;
  if (strcmp(id, agent->last_id) == 0) {
    // A `sh` command that still runs has no answer yet.
    if (agent->last_answer.size != 0) console_send(&agent->console, &agent->last_answer);
    return;
  }
  snprintf(agent->last_id, sizeof agent->last_id, "%s", id);
  line_clear(&agent->last_answer);
  if (strcmp(verb, "sh") == 0) {
    if (rest != NULL) start_shell(agent, id, rest);
    return;
  }
  if (strcmp(verb, "zero") == 0) {
    pinger_zero(&agent->pinger);
    prober_zero(&agent->prober);
  } else if (strcmp(verb, "stop") == 0) {
    agent->pinger.running = agent->prober.running = false;
  } else if (strcmp(verb, "start") == 0) {
    agent->pinger.running = agent->prober.running = true;
  }
  report(agent, id);
  if (strcmp(verb, "gaps") == 0) pinger_reset_gaps(&agent->pinger);
}

static int start_timer(unsigned rate) {
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  const struct timespec period = {.tv_sec = rate == 1,
                                  .tv_nsec = rate == 1 ? 0 : (long)(kNanosecondsPerSecond / rate)};
  const struct itimerspec setting = {.it_interval = period, .it_value = period};
  if (timer < 0 || timerfd_settime(timer, 0, &setting, NULL) != 0) fatal("timer");
  return timer;
}

// Returns whether an action at `rate` times a second is due at this tick.
static bool due(const struct agent* agent, unsigned rate) {
  return agent->ticks * rate / agent->tick_rate != (agent->ticks - 1) * rate / agent->tick_rate;
}

// Sends the due pings and probes.
static void send_permitted(struct agent* agent, uint64_t now_ns) {
  if (agent->permitted_rate == 0) return;
  if (now_ns > agent->next_permitted_ns + kCatchUpNs) agent->next_permitted_ns = now_ns;
  unsigned each = 0;
  for (; each < kProbeBurst && agent->next_permitted_ns <= now_ns; ++each) {
    agent->next_permitted_ns += kNanosecondsPerSecond / agent->permitted_rate;
  }
  if (each != 0) prober_send(&agent->prober, true, each);
}

static void on_timer(struct agent* agent, int timer) {
  uint64_t expirations = 0;
  if (read(timer, &expirations, sizeof expirations) != sizeof expirations) return;
  // The agent does not make up for missed ticks, except for the latest permitted probes.
  const uint64_t now_ns = monotonic_ns();
  ++agent->ticks;
  agent->ticks_missed += expirations - 1;
  if (due(agent, agent->ping_rate)) pinger_tick(&agent->pinger, now_ns);
  if (due(agent, agent->probe_rate)) prober_send(&agent->prober, false, 1);
  send_permitted(agent, now_ns);
}

static void run(struct agent* agent) {
  const int timer = start_timer(agent->tick_rate);
  uint64_t next_report_ns = monotonic_ns();
  for (;;) {
    const bool more_to_write = console_flush(&agent->console);
    struct pollfd waits[] = {
        {.fd = timer, .events = POLLIN},
        {.fd = agent->pinger.socket, .events = POLLIN},
        {.fd = agent->prober.socket, .events = POLLIN},
        {.fd = agent->console.descriptor,
         .events = (short)(POLLIN | (more_to_write ? POLLOUT : 0))},
        {.fd = agent->shell.process == 0 ? -1 : agent->shell.output, .events = POLLIN},
    };
    if (poll(waits, sizeof waits / sizeof waits[0], 1000) < 0) continue;
    if (waits[1].revents) pinger_receive(&agent->pinger);
    if (waits[0].revents) on_timer(agent, timer);
    if (waits[2].revents) prober_receive(&agent->prober);
    if (waits[3].revents & POLLIN) console_receive(&agent->console, on_command, agent);
    if (waits[4].revents) receive_shell(agent);
    const uint64_t now_ns = monotonic_ns();
    if (agent->report_ns != 0 && now_ns >= next_report_ns) {
      report(agent, NULL);
      next_report_ns = now_ns + agent->report_ns;
    }
  }
}

int main(void) {
  static struct agent agent;
  signal(SIGPIPE, SIG_IGN);
  read_options(&agent);
  if (!console_open(&agent.console, "/dev/ttyS0")) fatal("/dev/ttyS0");
  bring_up_interface(&agent);
  open_probes(&agent);
  if (!pinger_open(&agent.pinger)) fatal("ICMP socket");
  pinger_zero(&agent.pinger);
  agent.pinger.running = true;
  run(&agent);
}
