"""The lab under ThreadSanitizer and AddressSanitizer: `python -m anonvma_rt.stress.sanitize thread|address`."""
