// SPDX-License-Identifier: Apache-2.0
//
// Huge pages for what malloc gives out. A large classifier's lookups and updates jump about in tens of megabytes; in pages of
// 4 KiB, each jump costs a walk over page tables too, a double one inside a VM.
#pragma once

namespace godwit::bench {

// First thing in main(): has malloc ask for transparent huge pages (glibc.malloc.hugetlb=1), unless GLIBC_TUNABLES says something
// about that. glibc reads it at a program's start only, so the program is executed once more, in the same process. Where that
// cannot be, or the kernel has transparent huge pages off, it goes on without.
// See: The GNU C Library, "Memory Allocation Tunables"; Linux, admin-guide/mm/transhuge.
void prefer_huge_pages(char** argv);

}  // namespace godwit::bench
