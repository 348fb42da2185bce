// SPDX-License-Identifier: Apache-2.0
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const char kPrefix[] = "@godwit ";

void line_clear(struct line* line) {
  line->size = 0;
  line->full = false;
}

void line_add(struct line* line, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const size_t room = sizeof line->text - line->size;
  const int size = vsnprintf(line->text + line->size, room, format, arguments);
  va_end(arguments);
  if (size < 0 || (size_t)size >= room) {
    line->full = true;
    return;
  }
  line->size += (size_t)size;
}

void line_add_string(struct line* line, const char* text, size_t size) {
  line_add(line, "\"");
  for (size_t i = 0; i < size; ++i) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') {
      line_add(line, "\\%c", c);
    } else if (c < 0x20 || c >= 0x7f) {
      line_add(line, "\\u%04x", c);
    } else {
      line_add(line, "%c", c);
    }
  }
  line_add(line, "\"");
}

bool console_open(struct console* console, const char* path) {
  console->descriptor = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (console->descriptor < 0) return false;
  struct termios settings;
  if (tcgetattr(console->descriptor, &settings) != 0) return false;
  cfmakeraw(&settings);
  cfsetspeed(&settings, B115200);
  settings.c_cflag |= CLOCAL | CREAD;
  return tcsetattr(console->descriptor, TCSANOW, &settings) == 0;
}

void console_send(struct console* console, const struct line* line) {
  const size_t size = sizeof kPrefix - 1 + line->size + 1;
  if (line->full || size > sizeof console->out - console->out_size) return;
  char* at = console->out + console->out_size;
  memcpy(at, kPrefix, sizeof kPrefix - 1);
  memcpy(at + sizeof kPrefix - 1, line->text, line->size);
  at[size - 1] = '\n';
  console->out_size += size;
}

bool console_flush(struct console* console) {
  size_t done = 0;
  while (done < console->out_size) {
    const ssize_t written =
        write(console->descriptor, console->out + done, console->out_size - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += (size_t)written;
  }
  memmove(console->out, console->out + done, console->out_size - done);
  console->out_size -= done;
  return console->out_size != 0;
}

void console_receive(struct console* console, void (*command)(void* context, char* text),
                     void* context) {
  for (;;) {
    const size_t room = sizeof console->in - console->in_size;
    const ssize_t got = read(console->descriptor, console->in + console->in_size, room);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    console->in_size += (size_t)got;
    char* start = console->in;
    char* end = console->in + console->in_size;
    for (char* newline; (newline = memchr(start, '\n', (size_t)(end - start))) != NULL;
         start = newline + 1) {
      *newline = '\0';
      if (newline != start && newline[-1] == '\r') newline[-1] = '\0';
      if (!console->in_overlong && *start != '\0') command(context, start);
      console->in_overlong = false;
    }
    console->in_size = (size_t)(end - start);
    memmove(console->in, start, console->in_size);
    if (console->in_size == sizeof console->in) {
      console->in_overlong = true;
      console->in_size = 0;
    }
  }
}
