/*
 * list.h - intrusive doubly linked lists.  The head is a node; an empty list points at itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct node {
	struct node *next, *prev;
};

/* The struct of type T whose member M is the node N. */
#define CONTAINER(T, M, N) ((T *)((char *)(N) - offsetof(T, M)))

/* Walk a list; the body may remove `n` itself. */
#define LIST_EACH(n, head) \
	for (struct node *n = (head)->next, *n##_next = n->next; n != (head); n = n##_next, n##_next = n->next)

static inline void list_init(struct node *head)
{
	head->next = head->prev = head;
}

static inline bool list_empty(const struct node *head)
{
	return head->next == head;
}

static inline void list_insert(struct node *after, struct node *n)
{
	n->prev = after;
	n->next = after->next;
	after->next->prev = n;
	after->next = n;
}

static inline void list_push(struct node *head, struct node *n)        /* at the end */
{
	list_insert(head->prev, n);
}

/* Take n out of its list; n is then an empty list, so removing it again is harmless. */
static inline void list_remove(struct node *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Make `to` (any old content is forgotten) the list of all that is in `from`, which is empty afterwards. */
static inline void list_take(struct node *from, struct node *to)
{
	list_init(to);
	if (list_empty(from))
		return;
	list_insert(from, to);
	list_remove(from);
}

static inline struct node *list_pop(struct node *head)                 /* from the front; NULL when empty */
{
	struct node *n = head->next;

	if (n == head)
		return NULL;
	list_remove(n);
	return n;
}

#endif
