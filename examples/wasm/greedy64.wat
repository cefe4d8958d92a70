;; `by_layers` of greedy.wat for a memory of 64-bit addresses, for short prompts: addresses, lengths
;; and counts are 64 bits wide, token ids and statuses 32 as ever.
(module
  (import "realm" "realm_model_info" (func $model_info (param i64 i64) (result i32)))
  (import "realm" "realm_encode_tokens"
    (func $encode (param i64 i64 i32 i64 i64 i64) (result i32)))
  (import "realm" "realm_decode_tokens" (func $decode (param i64 i64 i64 i64 i64) (result i32)))
  (import "realm" "realm_token_ends" (func $token_ends (param i32) (result i32)))
  (import "realm" "realm_session_open" (func $session_open (param i64) (result i32)))
  (import "realm" "realm_embed_tokens" (func $embed (param i64 i64 i64) (result i32)))
  (import "realm" "realm_forward_layer" (func $forward_layer (param i32 i64 i64) (result i32)))
  (import "realm" "realm_compute_logits" (func $logits_of (param i64 i64 i64) (result i32)))

  ;; As in greedy.wat; the count at 64 has 8 bytes. Rows at 65536, logits at 1 MiB.
  (memory (export "memory") i64 32)

  (func (export "prompt") (result i64) (i64.const 1024))
  (func (export "answer") (result i64) (i64.const 24576))

  (func $count (result i64) (i64.load (i64.const 64)))
  (func $width (result i64) (i64.load32_u (i64.const 4)))
  (func $address (param $id i64) (result i64)
    (i64.add (i64.const 8192) (i64.mul (local.get $id) (i64.const 4))))

  ;; Some ids through all layers; then the most likely token after the last, or a status.
  (func $step (param $first i64) (param $n i64) (result i32)
    (local $layer i32) (local $status i32) (local $i i32) (local $best i32)
    (local.set $status
      (call $embed (call $address (local.get $first)) (local.get $n) (i64.const 65536)))
    (block $done
      (loop $next
        (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
        (br_if $done (i32.ge_u (local.get $layer) (i32.load (i64.const 0))))
        (local.set $status
          (call $forward_layer (local.get $layer) (i64.const 65536) (local.get $n)))
        (local.set $layer (i32.add (local.get $layer) (i32.const 1)))
        (br $next)))
    (local.set $status
      (call $logits_of
        (i64.add (i64.const 65536)
          (i64.mul (i64.const 4) (i64.mul (call $width) (i64.sub (local.get $n) (i64.const 1)))))
        (i64.const 1) (i64.const 1048576)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (loop $next
      (if (f32.gt (call $logit (local.get $i)) (call $logit (local.get $best)))
        (then (local.set $best (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (i32.load (i64.const 8)))))
    (local.get $best))

  (func $logit (param $i i32) (result f32)
    (f32.load
      (i64.add (i64.const 1048576) (i64.mul (i64.const 4) (i64.extend_i32_u (local.get $i))))))

  (func (export "by_layers") (param $n_bytes i64) (param $max i64) (result i64)
    (local $status i32) (local $token i32) (local $n_prompt i64) (local $n i64) (local $at i64)
    (drop (call $model_info (i64.const 0) (i64.const 28)))
    (local.set $status
      (call $encode (i64.const 1024) (local.get $n_bytes) (i32.const 1)
        (i64.const 8192) (i64.const 4096) (i64.const 64)))
    (if (i32.lt_s (local.get $status) (i32.const 0))
      (then (return (i64.extend_i32_s (local.get $status)))))
    (local.set $n_prompt (call $count))
    (local.set $status
      (call $session_open (i64.add (local.get $n_prompt) (local.get $max))))
    (if (i32.lt_s (local.get $status) (i32.const 0))
      (then (return (i64.extend_i32_s (local.get $status)))))
    (local.set $token (call $step (i64.const 0) (local.get $n_prompt)))
    (block $done
      (loop $next
        (if (i32.lt_s (local.get $token) (i32.const 0))
          (then (return (i64.extend_i32_s (local.get $token)))))
        (br_if $done (call $token_ends (local.get $token)))
        (local.set $at (i64.add (local.get $n_prompt) (local.get $n)))
        (i32.store (call $address (local.get $at)) (local.get $token))
        (local.set $n (i64.add (local.get $n) (i64.const 1)))
        (br_if $done (i64.ge_u (local.get $n) (local.get $max)))
        (local.set $token (call $step (local.get $at) (i64.const 1)))
        (br $next)))
    (local.set $status
      (call $decode (call $address (local.get $n_prompt)) (local.get $n)
        (i64.const 24576) (i64.const 40960) (i64.const 64)))
    (if (i32.lt_s (local.get $status) (i32.const 0))
      (then (return (i64.extend_i32_s (local.get $status)))))
    (call $count)))
