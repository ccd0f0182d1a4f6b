//! What `run.sh` runs beside the other tests, under ThreadSanitizer and AddressSanitizer: the
//! engine at work on a real folder with many threads, and the sanitizers' own test. What is `planted`
//! they must report; what is `ordered` they must let pass. The script runs what is planted, one by one;
//! without a sanitizer it proves nothing, so it is ignored here.

mod ordered;
mod planted;
mod workload;
