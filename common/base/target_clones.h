// PENSTOCK_TARGET_CLONES: compiles a function for AVX-512, AVX2 and plain x86-64, and lets the loader choose
// by the processor.
//
// For a definition with plain loops that the compiler vectorises; its source file is compiled with
// PENSTOCK_KERNEL_OPTIONS of CMakeLists.txt, of which `-ffp-contract=off` is what makes all clones compute
// the same bits: without it those that have fused multiply-add would round once where others round twice, and
// a row that is recovered, replayed or moved on another processor would differ.
//
// Sanitized builds have the plain version alone: the loader chooses before a sanitizer's runtime is set up,
// and that ends the process at its start.
#pragma once

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define PENSTOCK_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PENSTOCK_SANITIZED 1
#endif

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(PENSTOCK_SANITIZED)
#define PENSTOCK_TARGET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PENSTOCK_TARGET_CLONES
#endif
#undef PENSTOCK_SANITIZED
