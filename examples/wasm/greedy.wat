;; A guest that writes the most likely continuation of a prompt, twice: `by_layers` runs every layer
;; itself, `whole` asks for the whole answer. docs/wasm.md explains the functions it imports.
;;
;; The embedding program writes the prompt's text to the address that `prompt` gives and calls one of
;; the two with its length and the number of tokens wanted. It gets the number of bytes of the answer,
;; whose address `answer` gives, or a negative status.
(module
  (import "realm" "realm_model_info" (func $model_info (param i32 i32) (result i32)))
  (import "realm" "realm_encode_tokens"
    (func $encode (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "realm" "realm_decode_tokens" (func $decode (param i32 i32 i32 i32 i32) (result i32)))
  (import "realm" "realm_token_ends" (func $token_ends (param i32) (result i32)))
  (import "realm" "realm_session_open" (func $session_open (param i32) (result i32)))
  (import "realm" "realm_embed_tokens" (func $embed (param i32 i32 i32) (result i32)))
  (import "realm" "realm_forward_layer" (func $forward_layer (param i32 i32 i32) (result i32)))
  (import "realm" "realm_compute_logits" (func $logits_of (param i32 i32 i32) (result i32)))
  (import "realm" "realm_generate"
    (func $generate (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))

  ;; 0 model_info: layers, width, vocabulary, context, rows of a step; 64 a count; 128 options;
  ;; 1024 prompt; 8192 ids, of the prompt and then of the answer; 24576 the answer's text;
  ;; 65536 rows, then logits.
  (memory (export "memory") 1)
  (data (i32.const 128) "{\"temperature\": 0}")
  (global $ids i32 (i32.const 8192))
  (global $max_ids i32 (i32.const 4096))
  (global $text i32 (i32.const 24576))
  (global $max_text i32 (i32.const 40960))
  (global $rows i32 (i32.const 65536))
  (global $n_prompt (mut i32) (i32.const 0))

  (func (export "prompt") (result i32) (i32.const 1024))
  (func (export "answer") (result i32) (global.get $text))

  (func $n_layers (result i32) (i32.load (i32.const 0)))
  (func $width (result i32) (i32.load (i32.const 4)))
  (func $n_vocab (result i32) (i32.load (i32.const 8)))
  (func $step_rows (result i32) (i32.load (i32.const 16)))
  (func $count (result i32) (i32.load (i32.const 64)))
  (func $address (param $id i32) (result i32)
    (i32.add (global.get $ids) (i32.mul (local.get $id) (i32.const 4))))

  ;; Behind the rows of a step.
  (func $logits (result i32)
    (i32.add (global.get $rows)
      (i32.mul (i32.const 4) (i32.mul (call $step_rows) (call $width)))))

  ;; Grows the memory up to the end of the logits; 0, or the status for no memory.
  (func $reserve (result i32) (local $pages i32)
    (local.set $pages
      (i32.sub
        (i32.shr_u
          (i32.add (i32.const 65535)
            (i32.add (call $logits) (i32.mul (i32.const 4) (call $n_vocab))))
          (i32.const 16))
        (memory.size)))
    (if (i32.le_s (local.get $pages) (i32.const 0)) (then (return (i32.const 0))))
    (if (i32.lt_s (memory.grow (local.get $pages)) (i32.const 0))
      (then (return (i32.const -5))))
    (i32.const 0))

  ;; The prompt's text as ids.
  (func $begin (param $n_bytes i32) (result i32) (local $status i32)
    (local.set $status (call $model_info (i32.const 0) (i32.const 28)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (local.set $status
      (call $encode (i32.const 1024) (local.get $n_bytes) (i32.const 1)
        (global.get $ids) (global.get $max_ids) (i32.const 64)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (global.set $n_prompt (call $count))
    (if (i32.gt_u (global.get $n_prompt) (global.get $max_ids)) (then (return (i32.const -2))))
    (i32.const 0))

  ;; The answer's ids as text; its length in bytes.
  (func $finish (param $n_ids i32) (result i32) (local $status i32)
    (local.set $status
      (call $decode (call $address (global.get $n_prompt)) (local.get $n_ids)
        (global.get $text) (global.get $max_text) (i32.const 64)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (if (i32.gt_u (call $count) (global.get $max_text)) (then (return (i32.const -2))))
    (call $count))

  ;; Some ids through all layers, as one step.
  (func $step (param $first i32) (param $n i32) (result i32)
    (local $layer i32) (local $status i32)
    (local.set $status
      (call $embed (call $address (local.get $first)) (local.get $n) (global.get $rows)))
    (block $done
      (loop $next
        (br_if $done (i32.lt_s (local.get $status) (i32.const 0)))
        (br_if $done (i32.ge_u (local.get $layer) (call $n_layers)))
        (local.set $status
          (call $forward_layer (local.get $layer) (global.get $rows) (local.get $n)))
        (local.set $layer (i32.add (local.get $layer) (i32.const 1)))
        (br $next)))
    (local.get $status))

  ;; The most likely token after the last of `n` rows; the first of several. Or a status.
  (func $choose (param $n i32) (result i32)
    (local $status i32) (local $i i32) (local $best i32) (local $at i32)
    (local.set $status
      (call $logits_of
        (i32.add (global.get $rows)
          (i32.mul (i32.const 4) (i32.mul (call $width) (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 1) (call $logits)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (local.set $at (call $logits))
    (loop $next
      (if (f32.gt
            (f32.load (i32.add (local.get $at) (i32.mul (i32.const 4) (local.get $i))))
            (f32.load (i32.add (local.get $at) (i32.mul (i32.const 4) (local.get $best)))))
        (then (local.set $best (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (call $n_vocab))))
    (local.get $best))

  ;; The prompt through all layers, in steps as large as they may be; the first token after it.
  (func $prefill (result i32) (local $done i32) (local $n i32) (local $status i32)
    (loop $next
      (local.set $n (i32.sub (global.get $n_prompt) (local.get $done)))
      (if (i32.gt_u (local.get $n) (call $step_rows))
        (then (local.set $n (call $step_rows))))
      (local.set $status (call $step (local.get $done) (local.get $n)))
      (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
      (local.set $done (i32.add (local.get $done) (local.get $n)))
      (br_if $next (i32.lt_u (local.get $done) (global.get $n_prompt))))
    (call $choose (local.get $n)))

  (func (export "by_layers") (param $n_bytes i32) (param $max i32) (result i32)
    (local $status i32) (local $token i32) (local $n i32) (local $at i32)
    (local.set $status (call $begin (local.get $n_bytes)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (local.set $status (call $reserve))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (if (i32.gt_u (i32.add (global.get $n_prompt) (local.get $max)) (global.get $max_ids))
      (then (return (i32.const -2))))
    (local.set $status
      (call $session_open (i32.add (global.get $n_prompt) (local.get $max))))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (local.set $token (call $prefill))
    (block $done
      (loop $next
        (if (i32.lt_s (local.get $token) (i32.const 0)) (then (return (local.get $token))))
        (br_if $done (call $token_ends (local.get $token)))
        (local.set $at (i32.add (global.get $n_prompt) (local.get $n)))
        (i32.store (call $address (local.get $at)) (local.get $token))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $done (i32.ge_u (local.get $n) (local.get $max)))
        (local.set $token (call $step (local.get $at) (i32.const 1)))
        (if (i32.ge_s (local.get $token) (i32.const 0))
          (then (local.set $token (call $choose (i32.const 1)))))
        (br $next)))
    (call $finish (local.get $n)))

  (func (export "whole") (param $n_bytes i32) (param $max i32) (result i32) (local $status i32)
    (local.set $status (call $begin (local.get $n_bytes)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (local.set $status
      (call $generate (global.get $ids) (global.get $n_prompt) (local.get $max)
        (i32.const 128) (i32.const 18)
        (call $address (global.get $n_prompt)) (local.get $max) (i32.const 64)))
    (if (i32.lt_s (local.get $status) (i32.const 0)) (then (return (local.get $status))))
    (call $finish (call $count))))
