// SPDX-License-Identifier: Apache-2.0
//
// The agent's talk with the host over the serial console: lines of commands in, lines of JSON out.
//
// Each line out is "@godwit {...}", so that the kernel's own messages can be told apart. Whole
// lines are dropped when the host does not read; every number in them is absolute, so nothing is
// lost by it. The console survives a live migration: the line that was on its way then may arrive
// torn, and the next is whole.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
  kConsoleOutSize = 64 * 1024,
  kConsoleInSize = 4096,
  kLineSize = 24 * 1024,
};

// A line being written; what does not fit is cut, and `full` says so.
struct line {
  char text[kLineSize];
  size_t size;
  bool full;
};

void line_clear(struct line* line);
void line_add(struct line* line, const char* format, ...) __attribute__((format(printf, 2, 3)));
// As a JSON string, quotes included.
void line_add_string(struct line* line, const char* text, size_t size);

struct console {
  int descriptor;
  char out[kConsoleOutSize];
  size_t out_size;
  char in[kConsoleInSize];
  size_t in_size;
  bool in_overlong;  // the command being read is too long and will be ignored
};

bool console_open(struct console* console, const char* path);

// Queues "@godwit TEXT\n", or drops it if there is no room or the line was cut.
void console_send(struct console* console, const struct line* line);

// Writes what can be written now; true if something is left.
bool console_flush(struct console* console);

// Reads what is there and calls `command` for each line.
void console_receive(struct console* console, void (*command)(void* context, char* text),
                     void* context);
