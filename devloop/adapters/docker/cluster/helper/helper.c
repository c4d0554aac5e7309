/* The one program of devloop's helper image. It needs no C library, so the image holds nothing else.
 *
 *   helper [PORT...]       listens on the ports for a Service, and holds a pod's network where there are none.
 *                          Lines on its standard input say where a port leads: `80 web-0:8080 web-1:8080`; each is
 *                          answered by `ok`. A port that leads nowhere is closed, so that connections are refused.
 *   helper tell            run beside it, passes lines to it and its answers back: for engines that end a container's
 *                          standard input with the first connection to it (Podman).
 *   helper dial HOST PORT  joins its standard input and output to a TCP connection.
 *
 * Names are asked of the engine's resolver at each connection, as pods change their addresses. `build` makes both.
 */

typedef unsigned char byte;
typedef unsigned long word;

/* --- the kernel ------------------------------------------------------------------------------------------------ */

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, CLOSE = 3, SOCKET = 41, CONNECT = 42, ACCEPT4 = 288, SHUTDOWN = 48, BIND = 49, LISTEN = 50,
       SETSOCKOPT = 54, GETSOCKOPT = 55, CLONE = 56, EXIT_GROUP = 231, PPOLL = 271, SIGNALFD4 = 289, SIGPROCMASK = 14,
       SIGACTION = 13, OPENAT = 257 };
static long call(long number, long a, long b, long c, long d, long e) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, CLOSE = 57, SOCKET = 198, CONNECT = 203, ACCEPT4 = 242, SHUTDOWN = 210, BIND = 200,
       LISTEN = 201, SETSOCKOPT = 208, GETSOCKOPT = 209, CLONE = 220, EXIT_GROUP = 94, PPOLL = 73, SIGNALFD4 = 74,
       SIGPROCMASK = 135, SIGACTION = 134, OPENAT = 56 };
static long call(long number, long a, long b, long c, long d, long e) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}
__asm__(".globl _start\n_start:\n mov x0, sp\n bl begin\n");
#else
#error "unknown processor"
#endif

enum { UNIX = 1, INET = 2, STREAM = 1, DATAGRAM = 2, NONBLOCK = 04000, IN = 1, OUT = 4, SIGCHLD = 17 };

struct address { unsigned short family, port; byte ip[4]; byte zero[8]; };
struct name { unsigned short family; char text[8]; }; /* of a socket in this network alone: it begins with a zero */
struct poll { int fd; short events, revents; };
struct time { long seconds, nanoseconds; };

static const struct name ear = {UNIX, "\0devloop"};

static void leave(int code) { call(EXIT_GROUP, code, 0, 0, 0, 0); __builtin_unreachable(); }
static long fork(void) { return call(CLONE, SIGCHLD, 0, 0, 0, 0); }
static long poll(struct poll *on, int count, int seconds) {
  struct time limit = {seconds, 0};
  return call(PPOLL, (long)on, count, seconds < 0 ? 0 : (long)&limit, 0, 8);
}
static unsigned short swapped(unsigned value) { return (unsigned short)(value << 8 | (value >> 8 & 255)); }

/* --- text ------------------------------------------------------------------------------------------------------ */

static unsigned number(const char *text) {
  unsigned value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (unsigned)(*text++ - '0');
  return value;
}

static int is_ip(const char *text, byte *ip) {
  for (int part = 0; part < 4; part++) {
    if (*text < '0' || *text > '9') return 0;
    ip[part] = (byte)number(text);
    while (*text >= '0' && *text <= '9') text++;
    if (*text != (part < 3 ? '.' : 0)) return 0;
    text++;
  }
  return 1;
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static int skip_name(const byte *packet, int at) {
  while (packet[at] && packet[at] < 192) at += packet[at] + 1;
  return at + (packet[at] ? 2 : 1);
}

/* The container's first IPv4 resolver: Docker's own at 127.0.0.11, Podman's own at the network's gateway. */
static struct address resolver(void) {
  struct address found = {INET, swapped(53), {127, 0, 0, 11}, {0}};
  static char text[4096];
  long fd = call(OPENAT, -100, (long)"/etc/resolv.conf", 0, 0, 0);
  long size = fd < 0 ? 0 : call(READ, fd, (long)text, sizeof text - 1, 0, 0);
  if (fd >= 0) call(CLOSE, fd, 0, 0, 0, 0);
  static const char keyword[] = "nameserver ";
  for (long line = 0, end; line < size; line = end + 1) {
    for (end = line; end < size && text[end] != '\n'; end++) {}
    text[end] = 0;
    int at = 0;
    while (keyword[at] && text[line + at] == keyword[at]) at++;
    byte ip[4];
    if (keyword[at] || !is_ip(text + line + at, ip)) continue;
    for (int i = 0; i < 4; i++) found.ip[i] = ip[i];
    break;
  }
  return found;
}

static int lookup(const char *host, byte *ip) {
  if (is_ip(host, ip)) return 1;
  struct address server = resolver();
  byte packet[1024] = {0x64, 0x6c, 1, 0, 0, 1};
  int end = 12;
  for (const char *label = host; *label;) {
    int length = 0;
    while (label[length] && label[length] != '.') length++;
    if (length == 0 || length > 63 || end + length > 300) return 0;
    packet[end++] = (byte)length;
    for (int i = 0; i < length; i++) packet[end++] = (byte)label[i];
    label += length + (label[length] == '.');
  }
  end++;
  packet[end + 1] = packet[end + 3] = 1;
  end += 4;
  long fd = call(SOCKET, INET, DATAGRAM, 0, 0, 0);
  if (fd < 0 || call(CONNECT, fd, (long)&server, sizeof server, 0, 0) < 0) return 0;
  int found = 0;
  for (int attempt = 0; attempt < 2 && !found; attempt++) {
    call(WRITE, fd, (long)packet, end, 0, 0);
    struct poll on = {(int)fd, IN, 0};
    byte answer[1024];
    if (poll(&on, 1, 2) <= 0) continue;
    long size = call(READ, fd, (long)answer, sizeof answer, 0, 0);
    int at = end, count = size > 12 ? answer[6] << 8 | answer[7] : 0;
    while (count-- > 0 && at + 12 < size) {
      at = skip_name(answer, at);
      int type = answer[at] << 8 | answer[at + 1], length = answer[at + 8] << 8 | answer[at + 9];
      if (type == 1 && length == 4 && at + 14 <= size) {
        for (int i = 0; i < 4; i++) ip[i] = answer[at + 10 + i];
        found = 1;
        break;
      }
      at += 10 + length;
    }
    break;
  }
  call(CLOSE, fd, 0, 0, 0, 0);
  return found;
}

/* --- connections ----------------------------------------------------------------------------------------------- */

enum { UNKNOWN = -2 };

static long connected(const char *host, unsigned port) {
  struct address to = {INET, swapped(port), {0}, {0}};
  if (!lookup(host, to.ip)) return UNKNOWN;
  long fd = call(SOCKET, INET, STREAM | NONBLOCK, 0, 0, 0);
  if (fd < 0) return -1;
  call(CONNECT, fd, (long)&to, sizeof to, 0, 0);
  struct poll on = {(int)fd, OUT, 0};
  int error = 1, size = sizeof error;
  if (poll(&on, 1, 3) == 1) call(GETSOCKOPT, fd, 1, 4, (long)&error, (long)&size);
  if (error) {
    call(CLOSE, fd, 0, 0, 0, 0);
    return -1;
  }
  return fd;
}

static byte buffer[65536];

/* Copies until the end; a broken connection is ended in both directions. */
static void copy(long from, long to, int socket) {
  for (;;) {
    long size = call(READ, from, (long)buffer, sizeof buffer, 0, 0);
    if (size == -11) {
      struct poll on = {(int)from, IN, 0};
      poll(&on, 1, -1);
      continue;
    }
    if (size <= 0) break;
    for (long done = 0; done < size;) {
      long written = call(WRITE, to, (long)(buffer + done), size - done, 0, 0);
      if (written == -11) {
        struct poll on = {(int)to, OUT, 0};
        poll(&on, 1, -1);
      } else if (written <= 0) {
        call(SHUTDOWN, from, 2, 0, 0, 0);
        call(SHUTDOWN, to, 2, 0, 0, 0);
        return;
      } else {
        done += written;
      }
    }
  }
  if (socket) call(SHUTDOWN, to, 1, 0, 0, 0);
}

/* Joins standard input and output to a connection. */
static void join(long fd) {
  if (fork() == 0) {
    copy(0, fd, 1);
    leave(0);
  }
  copy(fd, 1, 0);
  leave(0);
}

static void dial(const char *host, unsigned port) {
  long fd = connected(host, port);
  if (fd < 0) leave(1);
  int one = 1;
  call(SETSOCKOPT, fd, 6, 1, (long)&one, sizeof one);
  call(WRITE, 1, (long)"\n", 1, 0, 0); /* the sign that somebody answers */
  join(fd);
}

static void tell(void) {
  long fd = call(SOCKET, UNIX, STREAM, 0, 0, 0);
  if (fd < 0 || call(CONNECT, fd, (long)&ear, sizeof ear, 0, 0) < 0) leave(1);
  join(fd);
}

/* --- a Service ------------------------------------------------------------------------------------------------- */

enum { PORTS = 32, TARGETS = 64, LINE = 8192 };

static struct port {
  unsigned number, turn;
  int listener, count;
  char *hosts[TARGETS];
  unsigned to[TARGETS];
  char text[LINE];
} ports[PORTS];
static int port_count;

static void open_port(struct port *port) {
  struct address here = {INET, swapped(port->number), {0}, {0}};
  int one = 1;
  long fd = call(SOCKET, INET, STREAM | NONBLOCK, 0, 0, 0);
  call(SETSOCKOPT, fd, 1, 2, (long)&one, sizeof one);
  if (call(BIND, fd, (long)&here, sizeof here, 0, 0) < 0 || call(LISTEN, fd, 1024, 0, 0, 0) < 0) {
    call(CLOSE, fd, 0, 0, 0, 0);
    fd = -1;
  }
  port->listener = (int)fd;
}

/* Takes `80 web-0:8080 web-1:8080`. */
static void direct(const char *line) {
  unsigned wanted = number(line);
  for (int i = 0; i < port_count; i++) {
    struct port *port = &ports[i];
    if (port->number != wanted) continue;
    int end = 0;
    while (line[end]) {
      port->text[end] = line[end];
      end++;
    }
    port->text[end] = 0;
    port->count = 0;
    for (char *at = port->text; *at && port->count < TARGETS;) {
      while (*at && *at != ' ') at++;
      if (!*at) break;
      *at++ = 0;
      char *colon = at;
      while (*colon && *colon != ':') colon++;
      if (!*colon) break;
      *colon = 0;
      port->hosts[port->count] = at;
      port->to[port->count++] = number(colon + 1);
      at = colon + 1;
    }
    if (port->count && port->listener < 0) open_port(port);
    if (!port->count && port->listener >= 0) {
      call(CLOSE, port->listener, 0, 0, 0, 0);
      port->listener = -1;
    }
  }
}

static void carry(struct port *port, long client) {
  int one = 1, unknown = 0;
  for (int i = 0, again = 0; i < port->count || (unknown && again < 20); i++) {
    if (i >= port->count) { /* a resolver may learn a new pod's name a moment after it is ready (Podman's) */
      struct time pause = {0, 50 * 1000 * 1000};
      call(PPOLL, 0, 0, (long)&pause, 0, 8);
      i = unknown = 0;
      again++;
    }
    int chosen = (int)((port->turn + (unsigned)i) % (unsigned)port->count);
    long server = connected(port->hosts[chosen], port->to[chosen]);
    if (server == UNKNOWN) unknown = 1;
    if (server < 0) continue;
    call(SETSOCKOPT, server, 6, 1, (long)&one, sizeof one);
    call(SETSOCKOPT, client, 6, 1, (long)&one, sizeof one);
    if (fork() == 0)
      copy(server, client, 1);
    else
      copy(client, server, 1);
    leave(0);
  }
  leave(1);
}

/* Somebody who says where ports lead: in pieces, lines as they come. */
static struct teller {
  int in, out, length;
  char line[LINE];
} tellers[2];

static void hear(struct teller *from) {
  long size = call(READ, from->in, (long)buffer, sizeof buffer, 0, 0);
  if (size <= 0) {
    if (from->in) call(CLOSE, from->in, 0, 0, 0, 0);
    from->in = -1;
  }
  for (long i = 0; i < size; i++) {
    if (buffer[i] != '\n') {
      if (from->length < LINE - 1) from->line[from->length++] = (char)buffer[i];
      continue;
    }
    from->line[from->length] = 0;
    from->length = 0;
    direct(from->line);
    call(WRITE, from->out, (long)"ok\n", 3, 0, 0);
  }
}

static void serve(void) {
  word signals = 1UL << 14 | 1UL << 1; /* TERM, INT */
  call(SIGPROCMASK, 0, (long)&signals, 0, 8, 0);
  long ending = call(SIGNALFD4, -1, (long)&signals, 8, 0, 0);
  long ignore[4] = {1, 0, 0, 0};
  call(SIGACTION, SIGCHLD, (long)ignore, 0, 8, 0); /* children leave no zombies */
  struct teller *first = &tellers[0], *other = &tellers[1];
  first->out = 1;
  other->in = -1;
  int hearing = port_count ? (int)call(SOCKET, UNIX, STREAM, 0, 0, 0) : -1;
  if (call(BIND, hearing, (long)&ear, sizeof ear, 0, 0) < 0 || call(LISTEN, hearing, 16, 0, 0, 0) < 0) hearing = -1;
  for (;;) {
    struct poll on[PORTS + 4] = {
        {(int)ending, IN, 0}, {first->in, IN, 0}, {other->in, IN, 0}, {other->in < 0 ? hearing : -1, IN, 0}};
    for (int i = 0; i < port_count; i++) on[i + 4] = (struct poll){ports[i].listener, IN, 0};
    poll(on, port_count + 4, -1);
    if (on[0].revents) leave(0);
    if (on[3].revents) {
      other->in = other->out = (int)call(ACCEPT4, hearing, 0, 0, 0, 0);
      other->length = 0;
      continue;
    }
    if (on[1].revents || on[2].revents) {
      hear(on[1].revents ? first : other);
      continue; /* listeners may have changed */
    }
    for (int i = 0; i < port_count; i++) {
      if (!on[i + 4].revents) continue;
      long client = call(ACCEPT4, ports[i].listener, 0, 0, 0, 0);
      if (client < 0) continue;
      ports[i].turn++;
      if (fork() == 0) carry(&ports[i], client);
      call(CLOSE, client, 0, 0, 0, 0);
    }
  }
}

__attribute__((used)) void begin(long *stack) {
  long count = stack[0];
  char **arguments = (char **)(stack + 1);
  if (count == 2 && arguments[1][0] == 't') tell();
  if (count == 4 && arguments[1][0] == 'd') dial(arguments[2], number(arguments[3]));
  for (long i = 1; i < count && port_count < PORTS; i++) {
    ports[port_count].number = number(arguments[i]);
    ports[port_count++].listener = -1;
  }
  serve();
}

/* What the compiler may call by itself. */
void *memset(void *to, int value, word size) {
  for (volatile byte *at = to; size--;) *at++ = (byte)value;
  return to;
}
void *memcpy(void *to, const void *from, word size) {
  volatile byte *at = to;
  for (const byte *source = from; size--;) *at++ = *source++;
  return to;
}
