#!/bin/bash
# core_is_pure.sh - the core's libraries see no socket, thread, clock, descriptor or writable global.
#
# `nm` lists what the object files ask for and what they define; both lists must stay clean.  Prints each offence and a
# last line "N passed, N failed".
set -u
build=${1:-build}
libraries="base wire log cluster broker security http kafka amqp sqs"

# What only the runtime may call.
forbidden='open|openat|open64|openat64|creat|close|read|write|pread|pread64|pwrite|pwrite64|readv|writev|preadv|pwritev
fsync|fdatasync|sync|syncfs|rename|renameat|unlink|unlinkat|mkdir|mkdirat|fopen|fopen64|fread|fwrite|fputs|puts|printf|fprintf
socket|bind|listen|accept|accept4|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg|shutdown|poll|select|epoll_.*|eventfd
pthread_(create|join|mutex_.*|cond_.*|rwlock_.*)|thrd_.*|mtx_.*|fork|execve?|system|popen
time|clock|clock_gettime|gettimeofday|nanosleep|usleep|sleep|rand|srand|random|srandom|getrandom|getenv|syscall|ioctl|mmap'
pattern="^($(echo "$forbidden" | paste -sd'|'))(@.*)?\$"

passed=0 failed=0
for name in $libraries; do
	library=$(find "$build" -name "libhawser_$name.a" | head -n 1)
	if [ -z "$library" ]; then
		echo "libhawser_$name.a is not built"
		failed=$((failed + 1))
		continue
	fi
	calls=$(nm -u "$library" 2>/dev/null | awk '$1 == "U" {print $2}' | sort -u | grep -E "$pattern")
	# b, B, d, D: writable data (read-only tables with pointers are d in .data.rel.ro, which only the loader writes).
	globals=$(objdump -t "$library" 2>/dev/null |
		awk '$4 ~ /^\.(bss|data|tbss|tdata)/ && $4 !~ /^\.data\.rel\.ro/ && $NF !~ /^\./ && $(NF-1) !~ /^0+$/ {print $NF}' | sort -u)
	if [ -n "$calls$globals" ]; then
		[ -z "$calls" ] || echo "libhawser_$name.a calls: $(echo $calls)"
		[ -z "$globals" ] || echo "libhawser_$name.a has writable globals: $(echo $globals)"
		failed=$((failed + 1))
	else
		passed=$((passed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
