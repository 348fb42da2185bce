// SPDX-License-Identifier: Apache-2.0
//
// The connection of the agent to the host over the serial console: it reads commands and writes
// JSON, one a line.
//
// Each written line is "@godwit {...}", which separates it from the kernel's own messages. The
// agent drops whole lines if the host does not read. All numbers are absolute, so a later line has
// the same information. The console survives a live migration: the line in transit may arrive
// damaged, and the next one is complete.
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
  kConsoleOutSize = 64 * 1024,
  kConsoleInSize = 4096,
  kLineSize = 24 * 1024,
};

// A line under construction. It is cut if it does not fit, and `full` is set.
struct line {
  char text[kLineSize];
  size_t size;
  bool full;
};

void line_clear(struct line* line);
void line_add(struct line* line, const char* format, ...) __attribute__((format(printf, 2, 3)));
// Appends the text as a JSON string with its quotes.
void line_add_string(struct line* line, const char* text, size_t size);

struct console {
  int descriptor;
  char out[kConsoleOutSize];
  size_t out_size;
  char in[kConsoleInSize];
  size_t in_size;
  bool in_overlong;  // The command is too long and will be ignored.
};

bool console_open(struct console* console, const char* path);

// Queues "@godwit TEXT\n". Drops the line if there is no room or if it was cut.
void console_send(struct console* console, const struct line* line);

// Writes as much as possible without blocking. Returns true if bytes are left.
bool console_flush(struct console* console);

// Reads the available input and calls `command` for each line.
void console_receive(struct console* console, void (*command)(void* context, char* text),
                     void* context);
